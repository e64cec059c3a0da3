package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	promquery "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	sdktable "github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// strictly decodes a dashboard by Grafana's own types: no field that they do not have, none missing. What they
// write again is what was read, but for fields that they add empty.
func strictly(text []byte) (wrong []string) {
	runtime := cog.NewRuntime()
	for _, c := range []func(){
		func() { runtime.RegisterPanelcfgVariant(stat.VariantConfig()) },
		func() { runtime.RegisterPanelcfgVariant(sdktable.VariantConfig()) },
		func() { runtime.RegisterPanelcfgVariant(timeseries.VariantConfig()) },
		func() { runtime.RegisterPanelcfgVariant(statetimeline.VariantConfig()) },
		func() { runtime.RegisterDataqueryVariant(promquery.VariantConfig()) },
	} {
		c()
	}
	var d sdk.Dashboard
	said := func(err error) {
		if err != nil && err.Error() != "" { // of no errors it returns a list of none
			wrong = append(wrong, err.Error())
		}
	}
	said(d.UnmarshalJSONStrict(text))
	d = sdk.Dashboard{} // that list also makes v0.0.22 forget each panel that it has decoded
	said(json.Unmarshal(text, &d))
	said(d.Validate())
	if len(wrong) > 0 {
		return wrong
	}
	again, err := json.Marshal(&d)
	if err != nil {
		return append(wrong, err.Error())
	}
	var was, is any
	if err := json.Unmarshal(text, &was); err != nil {
		return append(wrong, err.Error())
	}
	if err := json.Unmarshal(again, &is); err != nil {
		return append(wrong, err.Error())
	}
	return append(wrong, differences("", was, is)...)
}

// differences lists where two values differ.
func differences(at string, was, is any) (all []string) {
	if empty(was) && empty(is) {
		return nil
	}
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return []string{at + ": no object any more"}
		}
		for k, v := range was {
			other, ok := is[k]
			if !ok && !empty(v) {
				all = append(all, at+"."+k+": lost")
			} else if ok {
				all = append(all, differences(at+"."+k, v, other)...)
			}
		}
		for k, v := range is {
			if _, ok := was[k]; !ok && !empty(v) {
				all = append(all, fmt.Sprintf("%s.%s: new: %v", at, k, v))
			}
		}
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(was) {
			return []string{at + ": another list"}
		}
		for i := range was {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), was[i], is[i])...)
		}
	default:
		if !reflect.DeepEqual(was, is) {
			all = append(all, fmt.Sprintf("%s: %v became %v", at, was, is))
		}
	}
	slices.Sort(all)
	return all
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func decoded(b file) []string {
	text, err := render(b.dashboard)
	if err != nil {
		return []string{err.Error()}
	}
	return strictly(text)
}

func TestGrafanaDecodesDashboardsStrictly(t *testing.T) {
	for _, b := range every(t) {
		for _, w := range decoded(b) {
			t.Errorf("%s: %s", b.file, w)
		}
	}
}
