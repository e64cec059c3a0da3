package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/store"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/inbox"
	"github.com/ai-micro-service/upkeep/remediate/journal"
)

func BenchmarkAlertToAction(b *testing.B) {
	s, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	h := &house{ward: newWard(), store: s, journal: journal.New(journal.Config{Store: s}), inbox: inbox.New(inbox.Config{Store: s}), mode: remediate.Auto}
	acted := make(chan struct{})
	h.ward.steps, h.ward.relief = 1, 10
	h.ward.before = func() { acted <- struct{}{} }
	for i := range b.N {
		h.ward.sickness[fmt.Sprint(i)] = 10
	}
	e := h.engine(h.journal)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go func() { _ = e.Run(ctx) }()
	b.ResetTimer()
	for i := range b.N {
		a := remediate.Alert{Source: "alertmanager", Firing: true, Labels: map[string]string{"alertname": "Sick", "server": "main", "table": fmt.Sprint(i)}, Annotations: map[string]string{"limit": "0"}}
		if err := h.inbox.Accept(ctx, []remediate.Alert{a}); err != nil {
			b.Fatal(err)
		}
		e.Wake()
		<-acted
	}
}
