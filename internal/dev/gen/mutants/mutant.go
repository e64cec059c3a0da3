package main

// A mutant is one protection that is taken out.
type mutant struct {
	name    string
	why     string // what the protection is for
	file    string
	search  string // occurs once in file
	replace string
	pkg     string   // whose tests should fail
	run     string   // which
	args    []string // of the test binary
}
