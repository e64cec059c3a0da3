package look

import (
	"fmt"
	"time"

	"github.com/ai-micro-service/upkeep/remediate"
)

// From what on an engine or a machine is listed. The warnings begin where the shipped rules fire.
const (
	reclaimSome  = 1 << 30
	reclaimMuch  = 20 << 30 // as DockerDiskReclaimable
	logLarge     = 1 << 30  // as ContainerLogLarge
	manyRestarts = 3        // as ContainerRestarts, since the container was made
	lately       = time.Hour
	diskMuch     = 0.8 // as HostFilesystemFilling
	diskFull     = 0.95
	inodesMuch   = 0.9 // as HostInodesFilling
)

// dockerFinders finds what is wrong with an engine and its containers.
func dockerFinders() []finder { return []finder{dockerDisk, dockerLogs, dockerContainers} }

// hostFinders finds what is wrong with a machine.
func hostFinders() []finder { return []finder{hostDisks, hostInodesFilling, hostUpdatesPending} }

func dockerDisk(f Facts) (found []Finding) {
	for _, x := range f.Figures[dockerReclaim] {
		s := x.subject("type")
		if x.Value < reclaimSome || s["type"] == "containers" { // what a container has written is its own
			continue
		}
		one := Finding{Kind: "docker/reclaimable", Severity: worse(x.Value, reclaimMuch, 1e18), Harm: Space, Subject: s,
			Bytes: x.Value, Title: fmt.Sprintf("%s of %s are used by no container", size(x.Value), s["type"]),
			Cost: "disk of " + size(x.Value), Evidence: []Evidence{x.evidence("type")}}
		if s["type"] == "images" || s["type"] == "build_cache" {
			one.Plan = plan("docker/prune", s, nil, "server", "type")
		} else {
			one.ByHand = "Volumes may hold data: look at each with docker volume ls -f dangling=true."
		}
		found = append(found, one)
	}
	return found
}

func dockerLogs(f Facts) (found []Finding) {
	rotated := f.Figures.by(dockerRotated, "container")
	sizes := f.Figures.by(dockerLog, "container")
	for _, x := range f.Figures[dockerRotated] {
		bytes, sized := sizes[x.key("container")]
		if x.Value == 1 || sized && bytes.Value > logLarge {
			continue // the size says it
		}
		s := x.subject("container")
		one := Finding{Kind: "docker/log_without_limit", Severity: severity(remediate.Info), Harm: Space, Subject: s,
			Bytes: bytes.Value, Title: "the log of container " + s["container"] + " has no limit",
			Cost: "it grows until the disk is full", Evidence: []Evidence{x.evidence()},
			ByHand: "Set max-size and max-file in its log-opts, or in the engine's, and make it anew."}
		if sized {
			one.Evidence = append(one.Evidence, bytes.evidence())
		}
		found = append(found, one)
	}
	for _, bytes := range f.Figures[dockerLog] {
		if bytes.Value <= logLarge {
			continue
		}
		s := bytes.subject("container")
		one := Finding{Kind: "docker/log_large", Severity: severity(remediate.Warning), Harm: Space, Subject: s,
			Bytes: bytes.Value, Title: fmt.Sprintf("the log of container %s has %s", s["container"], size(bytes.Value)),
			Cost: "disk of " + size(bytes.Value), Evidence: []Evidence{bytes.evidence()},
			Plan: plan("docker/prune_logs", s, nil, "server", "container")}
		if x, known := rotated[bytes.key("container")]; known {
			one.Evidence = append(one.Evidence, x.evidence())
		}
		found = append(found, one)
	}
	return found
}

func dockerContainers(f Facts) (found []Finding) {
	restarts, starts := f.Figures.by(dockerRestarts, "container"), f.Figures.by(dockerStart, "container")
	add := func(kind, title, cost string, x Figure, e ...Evidence) {
		s := x.subject("container")
		found = append(found, Finding{Kind: kind, Severity: severity(remediate.Warning), Harm: Service, Subject: s,
			Title: fmt.Sprintf(title, s["container"]), Cost: cost, Evidence: e,
			ByHand: "Read its log, and find out why before it is started again."})
	}
	for _, x := range f.Figures[dockerUnhealthy] {
		if x.Value == 1 {
			add("docker/unhealthy", "the health check of container %s fails", "its service may not answer", x,
				x.evidence())
		}
	}
	for _, x := range f.Figures[dockerOOM] {
		if x.Value == 1 {
			add("docker/out_of_memory", "container %s was OOM-killed", "what it was doing was lost", x, x.evidence())
		}
	}
	for _, x := range f.Figures[dockerState] {
		n, known := restarts[x.key("container")]
		start := starts[x.key("container")]
		again := n.Value > manyRestarts && f.At.Sub(start.moment()) < lately
		if state := x.Labels.Get("state"); x.Value == 1 && (state == "restarting" || state == "running" && again) {
			e := []Evidence{x.evidence("state")}
			if known {
				e = append(e, n.evidence())
			}
			add("docker/restarting", "container %s is restarted again and again", "its service is down meanwhile", x,
				e...)
		}
	}
	return found
}

func hostDisks(f Facts) (found []Finding) {
	names := []string{"device", "mountpoint"}
	free, fixed := f.Figures.by(hostAvailable, names...), f.Figures.by(hostReadOnly, names...)
	for _, x := range f.Figures[hostUsed] {
		if x.Value <= diskMuch || fixed[x.key(names...)].Value == 1 {
			continue
		}
		s := x.subject("device", "mountpoint", "fstype")
		one := Finding{Kind: "host/filesystem_full", Severity: worse(x.Value, diskMuch, diskFull), Harm: Service,
			Subject: s,
			Title: fmt.Sprintf("file system %s is used up to %s", s["mountpoint"], remediate.Quantity(x.Metric,
				x.Value)),
			Cost: "when it is full, what writes there stops", Evidence: []Evidence{x.evidence()},
			ByHand: "upkeep forecast shows how fast it fills; the findings of kind space show what may go."}
		if x, known := free[x.key(names...)]; known {
			one.Evidence = append(one.Evidence, x.evidence())
		}
		found = append(found, one)
	}
	return found
}

func hostInodesFilling(f Facts) (found []Finding) {
	for _, x := range f.Figures[hostInodes] {
		if x.Value <= inodesMuch {
			continue
		}
		s := x.subject("device", "mountpoint", "fstype")
		found = append(found, Finding{Kind: "host/inodes_used", Severity: worse(x.Value, inodesMuch, memoryFull),
			Harm: Service, Subject: s, Evidence: []Evidence{x.evidence()},
			Title: fmt.Sprintf("%s of the inodes of file system %s are used", remediate.Quantity(x.Metric, x.Value),
				s["mountpoint"]), Cost: "without one no file can be made, whatever space there is",
			ByHand: "Find the folders with most files."})
	}
	return found
}

func hostUpdatesPending(f Facts) (found []Finding) {
	for _, x := range f.Figures[hostUpdates] {
		if x.Labels.Get("kind") == "security" && x.Value > 0 {
			found = append(found, Finding{Kind: "host/security_updates", Severity: severity(remediate.Warning),
				Harm:  Care,
				Title: fmt.Sprintf("%.0f security updates are pending", x.Value), Cost: "known holes are open",
				Evidence: []Evidence{x.evidence("kind")}, ByHand: "Install them when a restart of services suits."})
		}
	}
	if x, known := f.Figures.one(hostReboot); known && x.Value == 1 {
		found = append(found, Finding{Kind: "host/reboot_required", Severity: severity(remediate.Info), Harm: Care,
			Title: "the machine needs a reboot", Cost: "an update that is installed is not in force",
			Evidence: []Evidence{x.evidence()}, ByHand: "Choose a time for it."})
	}
	return found
}
