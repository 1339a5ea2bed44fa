package syncengine

import tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"

// ItemTimeSuspect is about a record that was written by a device whose clock was more than a day
// off, or had been set back. Its times are to be checked; nothing else follows.
const ItemTimeSuspect ItemKind = "time_suspect"

const (
	// clockDrift is how far a monotonic clock may run off, in parts of what has passed.
	clockDrift = 10_000
	// suspectMS is the offset of a wall clock from which on its times are suspect,
	// setBackMS by how much it must have gone back.
	suspectMS, setBackMS = 24 * 60 * 60 * 1000, 2 * 60 * 1000
)

// Dated is the time of a change as the server understands it. It decides nothing: no
// order and no winner comes from it.
type Dated struct {
	// CorrectedMS is when the change was made by the server's clock, and
	// UncertaintyMS how far that may be off; -1 where nothing bounds it.
	CorrectedMS, UncertaintyMS int64
	// Suspect: the wall clock was more than a day off, or had been set back.
	Suspect bool
}

// Date corrects the time of a change that was received at a time of the server's
// clock. As long as the device ran since its last contact, its monotonic clock tells;
// otherwise its wall clock, less the offset that it had then.
func Date(t *tandemv1.ChangeTime, receivedMS int64) Dated {
	if t.GetContactMs() == 0 {
		// It has never had a contact that told the time, or is too old to say so.
		at := t.GetWallMs()
		if t.GetOffsetKnown() {
			at += t.GetOffsetMs()
		}
		return bounded(at, -1, t.GetWallMs(), receivedMS, false)
	}
	wallThen := t.GetContactMs() - t.GetOffsetMs()
	since := t.GetMonoMs() - t.GetContactMonoMs()
	if len(t.GetContactBoot()) > 0 || since < 0 {
		back := t.GetWallMs() < wallThen-setBackMS
		// It was made after that contact, whatever the clock says.
		return bounded(max(t.GetWallMs()+t.GetOffsetMs(), t.GetContactMs()), -1, t.GetWallMs(), receivedMS, back)
	}
	back := t.GetWallMs() < wallThen+since-setBackMS
	return bounded(t.GetContactMs()+since, t.GetUncertaintyMs()+since/clockDrift, t.GetWallMs(), receivedMS, back)
}

// bounded completes what a change says of its time by what the server knows: it was
// made before it came.
func bounded(at, uncertainty, wallMS, receivedMS int64, back bool) Dated {
	d := Dated{CorrectedMS: min(at, receivedMS), UncertaintyMS: uncertainty, Suspect: back}
	if at > receivedMS+max(uncertainty, 0)+setBackMS {
		d.UncertaintyMS = -1
	}
	d.Suspect = d.Suspect || wallMS-d.CorrectedMS > suspectMS || d.CorrectedMS-wallMS > suspectMS
	return d
}
