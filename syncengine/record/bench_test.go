package record_test

import (
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine/record"
)

// BenchmarkCheck judges the creation of an encounter of about 1 KB.
func BenchmarkCheck(b *testing.B) {
	d := record.New()
	c := creating(b, encounterMessage(b))
	b.Logf("body: %d bytes", len(c.GetRecords()[0].GetBody()))
	b.ReportAllocs()
	for b.Loop() {
		if r := d.Check(c); r != nil {
			b.Fatal(r)
		}
	}
}

// BenchmarkCheckEdit judges an edit of three fields.
func BenchmarkCheckEdit(b *testing.B) {
	d := record.New()
	c := editing(b, encounterMessage(b), func(e *tandemv1.Encounter) {
		e.DangerSelf, e.Narrative, e.Disposition = new("low"), new("Calm when we left."), new("left_with_support")
	})
	b.ReportAllocs()
	for b.Loop() {
		if r := d.Check(c); r != nil {
			b.Fatal(r)
		}
	}
}

// BenchmarkReview reviews a signed encounter.
func BenchmarkReview(b *testing.B) {
	d := record.New()
	rec := stored(b, encounterMessage(b))
	b.ReportAllocs()
	for b.Loop() {
		if names := d.Review(rec); len(names) > 0 {
			b.Fatal(names)
		}
	}
}

// BenchmarkScopes places an encounter.
func BenchmarkScopes(b *testing.B) {
	d := record.New()
	rec := stored(b, encounterMessage(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Scopes(org, rec, nil); err != nil {
			b.Fatal(err)
		}
	}
}
