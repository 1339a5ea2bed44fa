package syncengine_test

import (
	"slices"
	"testing"

	"github.com/tandem-response/tandem/syncengine"
)

// A record that keeps its fields shows those of the body that it has, also after another
// has taken that one's place.
func TestFieldsFollowBody(t *testing.T) {
	t.Parallel()
	first := slices.Concat(syncengine.StringField(1, "a"), syncengine.StringField(20, "x"))
	second := slices.Concat(syncengine.StringField(1, "a"), syncengine.StringField(20, "y"))
	rec := syncengine.Record{Body: first, Split: &syncengine.SplitBody{}}
	shows := func(body []byte) {
		t.Helper()
		for range 2 {
			got, err := rec.Fields()
			if err != nil {
				t.Fatal(err)
			}
			var all []byte
			for _, f := range got {
				all = append(all, f.Raw...)
			}
			if !slices.Equal(all, body) {
				t.Errorf("the fields are %q, the body is %q", all, body)
			}
		}
	}
	shows(first)
	rec.Body = second
	shows(second)
	rec.Body = slices.Clone(first)
	shows(first)
	rec.Body = nil
	shows(nil)
	rec.Body, rec.Split = []byte{0x80}, &syncengine.SplitBody{}
	for range 2 {
		if _, err := rec.Fields(); err == nil {
			t.Error("a body that ends inside a field was split")
		}
	}
}
