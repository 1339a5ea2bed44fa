package client

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// BenchmarkCapture is one save in a bulk: validated, merged, hashed and stored.
func BenchmarkCapture(b *testing.B) {
	c, _ := newEnrolled(b)
	next := someRecords(b)
	var notes []*tandemv1.Note
	for range perTransaction {
		msg, err := c.domain.Message(&next().Record)
		if err != nil {
			b.Fatal(err)
		}
		encounter, ok := msg.(*tandemv1.Encounter)
		if !ok {
			b.Fatalf("got a %T", msg)
		}
		notes = append(notes, &tandemv1.Note{
			Target: &tandemv1.RecordRef{Kind: new("incident"), Id: encounter.IncidentId}, Type: new("case"), Text: encounter.Narrative,
		})
	}
	for b.Loop() {
		_, err := c.Bulk(b.Context(), func(bulk *Bulk) error {
			for _, n := range notes {
				if _, err := bulk.Edit(func(e *Edit) error {
					_, err := e.Create(n)
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*perTransaction)/b.Elapsed().Seconds(), "saves/s")
}
