package record

import (
	"time"

	"github.com/tandem-response/tandem/syncengine"
)

// Aging is what becomes of a record that nobody has changed for a while.
type Aging struct {
	// Days it must have been quiet; 0: it stays as it is.
	Days int
	// Lock locks it; otherwise it leaves the open tier, and is back with the next
	// change.
	Lock bool
}

// Ages says what becomes of a record by quiet alone. A cleared call is locked after
// three days, so that what is written later is an amendment. An open referral or episode,
// a planned follow-up, a consent and an alert in force are work in hand however long it
// takes.
func (d *Domain) Ages(rec *syncengine.Record) Aging {
	k := d.kinds[rec.Kind]
	if k == nil || !k.open(rec) {
		return Aging{}
	}
	switch k.Name {
	case incident:
		if rec.Lifecycle() == Cleared {
			return Aging{Days: 3, Lock: true}
		}
		return Aging{Days: 30}
	case note:
		return Aging{Days: 30}
	case disclosure, review, attachment:
		return Aging{Days: 60}
	case encounter, person:
		// As long as a follow-up runs.
		return Aging{Days: 60}
	}
	return Aging{}
}

// Expired reports whether a record in force has a last day, and that day is over wherever
// somebody may be: half a day after it has ended in UTC. What it says stays as it is; its
// status is what a server then sets.
func (d *Domain) Expired(rec *syncengine.Record, nowMS int64) bool {
	k := d.kinds[rec.Kind]
	if k == nil || k.Name != consent && k.Name != safetyAlert || rec.Lifecycle() != Active {
		return false
	}
	f := k.table.byName["expires_on"]
	if f == nil {
		return false
	}
	last, err := time.Parse(time.DateOnly, rec.Text(f.number))
	return err == nil && earliestDay(nowMS) > last.Format(time.DateOnly)
}
