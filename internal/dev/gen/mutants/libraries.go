package main

// ofLibraries are the protections around the libraries that serve, scrape and write.
func ofLibraries() []mutant {
	return []mutant{
		{
			name: "waited out", why: "an answer that is not about the samples loses none of those that were left",
			file: "internal/product/embedded/catchup.go", search: `return []int{http.StatusBadRequest,`,
			replace: `return []int{http.StatusUnauthorized, http.StatusBadRequest,`,
			pkg:     "./internal/product/embedded", run: "TestWhatWasLeftIsWaitedFor",
		},
		{
			name: "native", why: "what was left has no native histograms where the other side does not take them",
			file:    "internal/product/embedded/catchup.go",
			search:  `kind != chunkenc.ValFloat && !c.config.SendNativeHistograms`,
			replace: `false && !c.config.SendNativeHistograms`,
			pkg:     "./internal/product/embedded", run: "TestNativeHistogramsAndExemplars",
		},
		{
			name: "connectable", why: "a certificate that cannot be read is found before a reload changes anything",
			file:   "internal/product/embedded/change.go",
			search: "\tif err == nil {\n\t\terr = connectable(made)\n\t}\n", replace: "",
			pkg: "./internal/product/embedded", run: "TestChangeAllOrNone",
		},
		{
			name: "same remote", why: "two entries that are the same are found before the queues refuse the second",
			file: "internal/product/embedded/scrape.go", search: `first, twice := remotes[made.String()]; twice`,
			replace: `first, twice := remotes[made.String()]; false && twice`,
			pkg:     "./internal/product/embedded", run: "TestSameRemoteTwice",
		},
		{
			name: "exact", why: "the stock APIs redirect nothing",
			file: "internal/product/app/routes.go", search: `path.Clean(p) != p`, replace: `false && path.Clean(p) != p`,
			pkg: "./internal/product/app", run: "TestRoutes",
		},
		{
			name: "hearing", why: "the time without a repetition goes on over restarts",
			file: "remediate/inbox/expire.go", search: `if old != nil {`, replace: `if false && old != nil {`,
			pkg: "./remediate/inbox", run: "TestExpireOverRestarts",
		},
	}
}
