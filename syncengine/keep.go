package syncengine

import (
	"cmp"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/planted"
)

// Compare orders scope keys: open work first, then by owner and compartment.
func (k ScopeKey) Compare(o ScopeKey) int {
	switch {
	case k.Open != o.Open:
		return cmp.Compare(boolByte(o.Open), boolByte(k.Open))
	case k.Owner != o.Owner:
		return cmp.Compare(k.Owner, o.Owner)
	case k.OwnerID != o.OwnerID:
		return k.OwnerID.Compare(o.OwnerID)
	}
	return cmp.Compare(k.Compartment, o.Compartment)
}

// Tiered reports whether a scope has a second tier, for what is not in hand. Those of the
// org have none, nor have those in the compartment system.
func (k ScopeKey) Tiered() bool {
	return k.Owner != OwnerOrg && k.Compartment != tandemv1.Compartment_COMPARTMENT_SYSTEM
}

// Holds returns the scopes that a device of a principal's holds: what they are granted, and
// no more than a device can hold. over are those that are left out, at the end of the order
// of [Rules.Grants]: first those of teams in the compartment system, which say more of records
// that the device has anyway.
func (s *Server) Holds(org ID, p *Principal) (held, over []ScopeKey) {
	held = s.Rules.Grants(org, p)
	if len(held) <= maxScopes {
		return held, nil
	}
	least := func(k ScopeKey) bool {
		return k.Owner == OwnerTeam && k.Compartment == tandemv1.Compartment_COMPARTMENT_SYSTEM
	}
	held = slices.Clone(held)
	for _, only := range []bool{true, false} {
		for i := len(held) - 1; i >= 0 && len(held) > maxScopes; i-- {
			if least(held[i]) == only {
				over = append(over, held[i])
				held = slices.Delete(held, i, i+1)
			}
		}
	}
	return held, over
}

// maxTouches bounds what a record remembers of its latest changes for deltas.
const (
	maxTouches      = 8
	maxTouchedPaths = 64
)

// save stores what a change did to a record: state, scopes, digests, work items.
func (b *Batch) save(res *result, c *StoredChange) error {
	next := &StoredRecord{
		Record: *res.Record, Hash: res.Record.Hash(), Seq: c.Seq, Scopes: res.scopes,
		RunReplica: c.Replica, Plain: res.Plain, CoAuthors: res.coAuthors,
	}
	// Others read it from here on, and for longer.
	next.Split = nil
	if old := res.old; old != nil {
		next.RunBase = old.Seq
		if old.RunReplica == c.Replica {
			next.RunBase = old.RunBase
		}
		next.Touches, next.TouchBase = touch(old, res.before, res.State, c.Seq)
		if !slices.Equal(old.Scopes, next.Scopes) {
			// Who sees it for the first time holds nothing that a delta could build on.
			next.Touches, next.TouchBase = nil, c.Seq
		}
	} else {
		next.TouchBase = c.Seq
	}
	for _, a := range res.awaits {
		if err := b.tx.Await(next.ID, a.path, a.stamp); err != nil {
			return err
		}
	}
	if err := b.place(res.old, next); err != nil {
		return err
	}
	if err := b.link(res.old, next); err != nil {
		return err
	}
	return b.items(res, c.Seq)
}

// place stores a record's state and its rows and sums in the scopes it is in and
// those it has left.
func (b *Batch) place(old, next *StoredRecord) error {
	bucket := Bucket(next.ID)
	term := Term(next.ID, next.Hash)
	if old != nil {
		gone := Sum{}.Sub(Term(old.ID, old.Hash))
		for _, scope := range old.Scopes {
			b.touched[scope] = true
			if err := b.tx.AddDigest(scope, bucket, gone); err != nil {
				return err
			}
			if slices.Contains(next.Scopes, scope) || planted.Is(planted.DroppedRowForgotten) {
				continue
			}
			b.move(next.ID, scope, false)
			if err := b.tx.SaveMember(scope, Member{Record: next.ID, Seq: next.Seq}); err != nil {
				return err
			}
		}
	}
	for _, scope := range next.Scopes {
		b.touched[scope] = true
		if old == nil || !slices.Contains(old.Scopes, scope) {
			b.move(next.ID, scope, true)
		}
		if err := b.tx.AddDigest(scope, bucket, term); err != nil {
			return err
		}
		if err := b.tx.SaveMember(scope, Member{Record: next.ID, Seq: next.Seq, Live: true}); err != nil {
			return err
		}
	}
	return b.tx.SaveRecord(next)
}

// move extends the commit's hash by a record that enters or leaves a scope.
func (b *Batch) move(record ID, scope ScopeKey, enters bool) {
	id := b.scopeID(scope)
	b.hash.Write(record[:])
	b.hash.Write(id[:])
	b.hash.Write([]byte{boolByte(enters)})
}

// scopeID returns the wire id of a scope.
func (b *Batch) scopeID(scope ScopeKey) ScopeID {
	id, ok := b.ids[scope]
	if !ok {
		id = b.srv.Secrets.ScopeID(scope)
		b.ids[scope] = id
	}
	return id
}

// lead brings followers (the person of an encounter) into the scopes of the
// record's team. The other records of the change are stored before: a follower may
// be one of them.
func (b *Batch) lead(res *result, seq uint64) error {
	team, err := ParseID(res.Record.Text(FieldTeam))
	if err != nil {
		return nil //nolint:nilerr // A team that is no id is no team.
	}
	for _, follower := range res.followers {
		old, err := b.tx.Record(follower)
		if err != nil {
			return err
		}
		if old == nil {
			// Whom it follows is asked when it comes.
			if err := b.tx.Follow(follower, team); err != nil {
				return err
			}
			continue
		}
		teams, err := b.tx.Teams(follower)
		if err != nil {
			return err
		}
		if slices.Contains(teams, team) {
			continue
		}
		if err := b.tx.Follow(follower, team); err != nil {
			return err
		}
		if planted.Is(planted.ChildBehind) {
			continue
		}
		scopes, _, err := b.scopesOf(&old.Record)
		if err != nil {
			return err
		}
		if slices.Equal(scopes, old.Scopes) {
			continue
		}
		next := *old
		next.Scopes, next.Seq, next.RunReplica, next.RunBase = scopes, seq, ID{}, 0
		next.Touches, next.TouchBase = nil, seq
		if err := b.place(old, &next); err != nil {
			return err
		}
	}
	return nil
}

// items opens and closes the work items that a change leads to.
func (b *Batch) items(res *result, seq uint64) error {
	id := res.Record.ID
	for _, item := range res.Items {
		if planted.Is(planted.ConflictUnasked) && item.Kind == ItemDiffers {
			continue
		}
		if err := b.tx.OpenItem(id, item, seq); err != nil {
			return err
		}
	}
	for _, rule := range b.srv.Rules.Review(res.Record) {
		if err := b.tx.OpenItem(id, Item{Kind: ItemKind(rule)}, seq); err != nil {
			return err
		}
	}
	if res.before == nil {
		return nil
	}
	open := res.State.Conflicts(res.kind)
	for _, p := range res.before.Conflicts(res.kind) {
		if !slices.Contains(open, p) {
			if err := b.tx.CloseItems(id, p, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxReviewed bounds the records about one that a change of it has judged anew.
const maxReviewed = 200

// about reads the records about one as they stand in the transaction, in order of id.
func (b *Batch) about(id ID) ([]*Record, error) {
	ids, err := b.tx.About(id, maxReviewed)
	if err != nil {
		return nil, err
	}
	stored, err := b.tx.Records(ids)
	if err != nil {
		return nil, err
	}
	recs := make([]*Record, 0, len(stored))
	for _, r := range stored {
		if slices.Contains(b.srv.Rules.About(&r.Record), id) {
			recs = append(recs, &r.Record)
		}
	}
	slices.SortFunc(recs, func(x, y *Record) int { return x.ID.Compare(y.ID) })
	return recs, nil
}

// reviewAmong opens the work items of rules over several records, once all that a change
// wrote is stored.
func (b *Batch) reviewAmong(results []*result, seq uint64) error {
	for _, res := range results {
		findings, err := b.srv.Rules.ReviewAmong(res.Record, b.look, b.about)
		if err != nil {
			return err
		}
		for _, f := range findings {
			if err := b.tx.OpenItem(f.Record, Item{Kind: ItemKind(f.Rule)}, seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// quarantine keeps a change that was not applied, and lets its bases count as those
// of an accepted write that names it. borne: another change has its stamp already, and
// what names that names the other.
func (b *Batch) quarantine(j *judge, c *StoredChange, change *tandemv1.Change, borne bool) error {
	var targets []ID
	for _, w := range change.GetRecords() {
		if id, ok := IDFromBytes(w.GetRecord()); ok && !slices.Contains(targets, id) {
			targets = append(targets, id)
		}
	}
	if err := b.tx.Quarantine(c, targets); err != nil {
		return err
	}
	for _, w := range change.GetRecords() {
		if borne {
			break
		}
		if err := b.stand(j, c, w); err != nil {
			return err
		}
	}
	return nil
}

// stand takes the bases of a quarantined write out of the heads of each path where
// an accepted write has already named it: those that its sender might take out, and never
// the last.
func (b *Batch) stand(j *judge, c *StoredChange, w *tandemv1.RecordWrite) error {
	id, ok := IDFromBytes(w.GetRecord())
	if !ok || planted.Is(planted.BasesLost) {
		return nil
	}
	old, err := b.tx.Record(id)
	if err != nil || old == nil {
		return err
	}
	kind := b.srv.Rules.Kind(old.Kind)
	writes, err := writesOf(w)
	if err != nil || kind == nil {
		return nil //nolint:nilerr // What cannot be read names no bases.
	}
	before, err := Decode(&old.Record)
	if err != nil {
		return err
	}
	after, err := Decode(&old.Record)
	if err != nil {
		return err
	}
	hist := &serverHistory{tx: b.tx, record: id, author: j.p.Person}
	m := &merger{kind: kind, s: after, by: Writer{Stamp: StampOf(c.ID)}, hist: hist}
	changed := false
	for _, write := range writes {
		awaited, err := hist.Awaited(write.Path, m.by.Stamp)
		if err != nil {
			return err
		}
		p := after.at(write.Path)
		if !awaited || p == nil {
			continue
		}
		bases := write.Bases
		if may, err := j.mayWrite(w, write, old); err != nil {
			return err
		} else if !may {
			bases = p.writtenBy(j.p.Person, bases)
		}
		sealed := after.sealed(kind)
		was, awaits, held := *p, len(hist.awaits), Stamp(0)
		if sealed {
			held = p.held()
		}
		if err := m.leave(p, bases, held); err != nil {
			return err
		}
		if len(p.Heads) == 0 {
			// What names it left a head of its own, or was written over by one that did.
			*p, hist.awaits = was, hist.awaits[:awaits]
			continue
		}
		changed = true
		if !sealed {
			p.Displayed = kind.choose(write.Path.Field, p.Heads)
		}
	}
	if !changed {
		return nil
	}
	res := &result{Applied: m.finish(id, old.Kind, nil), kind: kind, old: old, before: before, awaits: hist.awaits}
	if res.coAuthors, err = b.coAuthors(res); err != nil {
		return err
	}
	if res.scopes, res.followers, err = b.scopesOf(res.Record); err != nil {
		return err
	}
	if err := b.save(res, &StoredChange{Seq: c.Seq}); err != nil {
		return err
	}
	return b.lead(res, c.Seq)
}

// mayWrite reports whether the principal might write a path of a record as it stands, with
// nothing else.
func (j *judge) mayWrite(of *tandemv1.RecordWrite, write Write, rec *StoredRecord) (bool, error) {
	if j.revoked {
		return false, nil
	}
	if reached, err := j.reached(rec); err != nil || !reached {
		return false, err
	}
	alone := &tandemv1.RecordWrite{
		Record: of.GetRecord(), Kind: of.GetKind(), Act: tandemv1.Act_ACT_SET,
		Writes: []*tandemv1.PathWrite{{Field: write.Path.Field, Key: []byte(write.Path.Key), Value: write.Raw, Bases: EncodeStamps(write.Bases)}},
	}
	if !j.b.srv.Rules.Allowed(j.p, alone) {
		return false, nil
	}
	return j.allowedOn(alone, &rec.Record)
}

// touch returns what a record remembers of its latest changes, after one more.
func touch(old *StoredRecord, before, after *State, seq uint64) ([]Touch, uint64) {
	paths, whole := changedPaths(before, after)
	if whole {
		return nil, seq
	}
	touches := append(slices.Clone(old.Touches), Touch{Seq: seq, Paths: paths})
	base := old.TouchBase
	total := 0
	for i := len(touches) - 1; i >= 0; i-- {
		total += len(touches[i].Paths)
		if total > maxTouchedPaths || len(touches)-i > maxTouches {
			return touches[i+1:], touches[i].Seq
		}
	}
	return touches, base
}

// changedPaths returns the paths whose heads or display differ; whole says that
// something outside the paths differs.
func changedPaths(before, after *State) (paths []Path, whole bool) {
	if before.Origin != after.Origin || before.Rev != after.Rev || before.Compartment != after.Compartment {
		return nil, true
	}
	i, k := 0, 0
	for i < len(before.Paths) || k < len(after.Paths) {
		switch {
		case k == len(after.Paths) || (i < len(before.Paths) && before.Paths[i].Path.Compare(after.Paths[k].Path) < 0):
			paths = append(paths, before.Paths[i].Path)
			i++
		case i == len(before.Paths) || before.Paths[i].Path.Compare(after.Paths[k].Path) > 0:
			paths = append(paths, after.Paths[k].Path)
			k++
		default:
			if !samePath(&before.Paths[i], &after.Paths[k]) {
				paths = append(paths, after.Paths[k].Path)
			}
			i++
			k++
		}
	}
	return paths, false
}

func samePath(a, b *PathState) bool {
	return a.Displayed == b.Displayed && sameValue(a.Shown(), b.Shown()) &&
		slices.EqualFunc(a.Heads, b.Heads, func(x, y Head) bool { return x.Stamp == y.Stamp })
}
