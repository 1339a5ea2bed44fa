package syncengine

import (
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"google.golang.org/protobuf/proto"
)

// Supersede returns the draft of a change to write in place of one that was not
// accepted: the same writes, which name the old one's stamp and bases as bases, so that
// it stands where the old one would have stood. Id, author, device and times are the
// caller's to fill in; so are the values.
func Supersede(old *tandemv1.Change) *tandemv1.Change {
	next := &tandemv1.Change{Class: old.GetClass(), Replaces: slices.Clone(old.GetId())}
	id, _ := IDFromBytes(old.GetId())
	for _, w := range old.GetRecords() {
		w = proto.CloneOf(w)
		for _, pw := range w.GetWrites() {
			bases := DecodeStamps(pw.GetBases())
			if !slices.Contains(bases, StampOf(id)) {
				bases = append(bases, StampOf(id))
			}
			pw.Bases = EncodeStamps(bases)
		}
		next.Records = append(next.Records, w)
	}
	return next
}

// Withdrawal returns the draft of a change that takes back an own one in quarantine.
func Withdrawal(old ID) *tandemv1.Change {
	return &tandemv1.Change{Class: tandemv1.Class_CLASS_NORMAL, Replaces: slices.Clone(old[:])}
}
