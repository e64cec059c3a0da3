package docker

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/remediate"
)

const (
	// mostImages is how many images a plan has at most: what people can still read.
	// What is left is in the next plan.
	mostImages = 100

	// cacheSince is the first version of the API in which the build cache is pruned by
	// age. An engine that does not know the condition prunes everything.
	cacheSince = "1.39"

	// rollback begins the names of images that are kept to go back to.
	rollback = "upkeep-rollback/"

	// keepLabel is the label of images that stay.
	keepLabel = "upkeep.keep"
)

type prune struct{ target *target.Docker }

// settings are the parameters of a request.
type settings struct {
	age  time.Duration
	keep int
}

func settingsOf(params map[string]string) (s settings, err error) {
	age, err := model.ParseDuration(cmp.Or(params["age"], "7d"))
	if err != nil || age <= 0 {
		return s, remediate.Refuse(remediate.ReasonSubject, "the parameter age is %q, want a duration like 7d",
			params["age"])
	}
	keep, err := strconv.Atoi(cmp.Or(params["keep"], "2"))
	if err != nil || keep < 0 {
		return s, remediate.Refuse(remediate.ReasonSubject,
			"the parameter keep is %q, want how many images stay, like 2", params["keep"])
	}
	return settings{time.Duration(age), keep}, nil
}

// engineArgs is the part of a step's arguments that says for which engine it was planned;
// "" where a proxy does not let the question through.
type engineArgs struct {
	Engine string `arg:"engine,omitempty"`
}

// elsewhere refuses where another engine answers than the one of the plan.
func elsewhere(engine, planned string) error {
	if planned != "" && engine != planned {
		return remediate.Elsewhere("another engine answers than the one that the plan was made for")
	}
	return nil
}

// privilege names the way that a proxy before the engine does not let through.
func privilege(err error) error {
	refused, ok := errors.AsType[*target.DockerError](err)
	if !ok || refused.Status != http.StatusForbidden && refused.Status != http.StatusMethodNotAllowed {
		return err
	}
	return remediate.Refuse(remediate.ReasonPrivilege,
		"the engine's socket, or the proxy before it, does not let this through: %v", err)
}
