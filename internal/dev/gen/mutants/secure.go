package main

// ofSecurity are the protections from who names tables, delivers alerts, owns a watched
// folder or answers in the place of an engine.
func ofSecurity() []mutant {
	const (
		child   = "internal/platform/child"
		files   = "internal/platform/files"
		visible = "internal/platform/visible"
		store   = "internal/platform/store"
		target  = "internal/platform/target"
		audits  = "collectors/packages"
		notify  = "remediate/notify"
		policy  = "remediate/policy"
		house   = "./internal/dev/house"
	)
	return []mutant{
		{name: "environment", why: "a child gets nothing of our environment", file: child + "/child.go",
			search:  `"LANG=C.UTF-8"}, p.Env...)`,
			replace: `"LANG=C.UTF-8"}, append(os.Environ(), p.Env...)...)`, pkg: "./" + child, run: "TestEnvironment"},
		{name: "group", why: "what a child has started ends with it", file: child + "/child.go",
			search: "	_ = endGroup(pid) // nothing may be left", replace: "", pkg: "./" + child,
			run: "TestWholeGroupEnds"},
		{name: "bounded output", why: "a child cannot fill our memory", file: child + "/child.go",
			search: "	b.kept.Write(p[:room])", replace: "	b.kept.Write(p)", pkg: "./" + child,
			run: "TestBoundedOutput"},
		{name: "one place", why: "programs are started in one place", file: "collectors/host/updates.go",
			search: `	"context"`, replace: "	\"context\"\n	_ \"os/exec\"", pkg: house, run: "TestProgramsAreStartedInOnePlace"},
		{name: "stage", why: "an audit works in a folder of ours", file: audits + "/run.go",
			search: "Args: args, Dir: stage,", replace: "Args: args, Dir: t.Path,", pkg: "./" + audits,
			run: "TestFolderOfAStranger"},
		{name: "owner", why: "as root an audit runs as the folder's owner", file: audits + "/run.go",
			search:  "return &child.User{UID: owner.Uid, GID: owner.Gid}, err",
			replace: "return nil, err", pkg: "./" + audits, run: "TestFoldersOwner"},
		{name: "pinned", why: "a requirement names no file and no URL", file: audits + "/list.go",
			search: "if !pinned.MatchString(line) {", replace: "if false && !pinned.MatchString(line) {",
			pkg: "./" + audits,
			run: "TestListsOfAStranger"},
		{name: "plain file", why: "a pipe, a device or a link is no file of a stranger", file: files + "/files.go",
			search:  "err = errors.Join(Plain(named), Plain(info))",
			replace: "err = nil", pkg: "./" + files, run: "TestIn"},
		{name: "secret modes", why: "a secret that others can read is refused", file: files + "/private.go",
			search: "case mode&others != 0 &&", replace: "case false && mode&others != 0 &&", pkg: "./" + files,
			run: "TestSecret"},
		{name: "data_dir", why: "a data_dir that others can read is refused", file: store + "/open.go",
			search:  "if err := files.Folder(o.dir); err != nil {",
			replace: "if err := files.Folder(o.dir); err != nil && false {", pkg: "./" + store,
			run: "TestOpenFolderIsRefused"},
		{name: "0600", why: "the store is for its owner only", file: store + "/open.go",
			search:  "if err := private(filepath.Join(o.dir, database)); err != nil {",
			replace: "if err := error(nil); err != nil {", pkg: "./" + store, run: "TestFilesArePrivate"},
		{
			name:    "log of an engine",
			why:     "an engine names no file of its choice as a log",
			file:    target + "/dockerlogfolder.go",
			search:  `if name != c.ID+"-json.log" || filepath.Base(folder) != c.ID {`,
			replace: `if false && (name != c.ID+"-json.log" || filepath.Base(folder) != c.ID) {`,
			pkg:     "./collectors/logs",
			run:     "TestLogThatIsNone",
		},
		{name: "engine's TLS", why: "an engine on another machine needs TLS", file: target + "/docker.go",
			search:  `if u.Scheme == "tcp" && !c.TLS.used() &&`,
			replace: `if false && u.Scheme == "tcp" && !c.TLS.used() &&`, pkg: "./" + target, run: "TestDockerTLS"},
		{name: "shown", why: "a control letter of a name is shown, not obeyed", file: visible + "/visible.go",
			search: "if Printable(r) || strings", replace: "if true || Printable(r) || strings", pkg: "./" + visible,
			run: "TestText"},
		{name: "plain text", why: "Slack sees names in plain text", file: notify + "/slack.go",
			search:  `slackBlock("section", "plain_text", slack`,
			replace: `slackBlock("section", "mrkdwn", slack`, pkg: "./" + notify, run: "TestSlackObeysNoName"},
		{name: "links", why: "a notification has no link but ours", file: notify + "/message.go",
			search:  "return title, visible.Unlinked(visible.Lines(strings.TrimSpace(n.Text)), own...)",
			replace: "return title, visible.Lines(strings.TrimSpace(n.Text))", pkg: "./" + notify,
			run: "ObeysNoName|ObeyNoName"},
		{name: "letters", why: "a notification has no control letters", file: notify + "/message.go",
			search:  "visible.Unlinked(visible.Lines(strings.TrimSpace(n.Text)), own...)",
			replace: "visible.Unlinked(strings.TrimSpace(n.Text), own...)", pkg: "./" + notify,
			run: "ObeysNoName|ObeyNoName"},
		{name: "known rule", why: "the limit of a known rule holds, not that of a delivery", file: "remediate/alert.go",
			search: "		delete(a.Annotations, name)", replace: "", pkg: "./remediate", run: "TestBelieved",
		},
		{name: "bomb", why: "the expression of a delivery is not evaluated", file: "remediate/alert.go",
			search: `a.Rule, a.Expr = RuleUnknown, ""`, replace: "a.Rule = RuleUnknown", pkg: "./remediate",
			run: "TestBelieved"},
		{name: "relay", why: "the proof of one address is of no use at another", file: "internal/platform/access/proof.go",
			search: `address + "\x00" + challenge`, replace: `challenge`, pkg: "./cmd/upkeep",
			run: "TestAttackByAnImpostor"},
		{name: "impostor", why: "the admin token goes to an upkeep that has proved itself", file: "cmd/upkeep/proof.go",
			search:  "	return &unproven{base, filepath.Dir(l.file)}",
			replace: "	_ = &unproven{base, filepath.Dir(l.file)}\n	return nil", pkg: "./cmd/upkeep",
			run: "TestAttackByAnImpostor"},
		{name: "texts", why: "a query is bounded before it is read", file: "internal/product/embedded/budget.go",
			search:  `"match_target"); err != nil {`,
			replace: `"match_target"); err != nil && false {`, pkg: "./internal/product/embedded", run: "TestBudgetOfTexts"},
		{name: "own links", why: "one identity uses up its own login links", file: "internal/platform/access/kept.go",
			search: "	if own >= ownLinks {", replace: "	if false && own >= ownLinks {", pkg: "./internal/platform/access",
			run: "TestOnceOfMany"},
		{name: "removed user", why: "a password that was right is forgotten with its user",
			file:   "internal/platform/webconfig/middleware.go",
			search: "	if right && there {", replace: "	if right {", pkg: "./internal/platform/webconfig", run: "TestPasswords"},
		{name: "hint", why: "an alert of no known rule acts with approval only", file: policy + "/decide.go",
			search:  "		r.Mode = remediate.Ask\n",
			replace: "", pkg: "./" + policy, run: "TestAlertIsAHint"},
	}
}
