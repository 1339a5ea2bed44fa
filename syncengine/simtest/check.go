package simtest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// checks hold after every transaction of a device, for each of some records.
var checks = []func(w *World, d *device, ids []syncengine.ID) *ViolationError{
	(*World).showsCut,
	(*World).showsOwn,
	(*World).sums,
	(*World).settledIn,
}

// seen is what the checks know of a device since they last looked: only what has
// moved since is looked at again.
type seen struct {
	known  bool
	cut    uint64
	oracle *serverStore
	scopes []syncengine.DeviceScope
	rows   map[syncengine.ID]seenRow
	sums   [64]syncengine.Sum
}

// seenRow is a row of the server's state on a device.
type seenRow struct {
	scopes uint64
	hash   syncengine.RowHash
}

// check runs the checks on what has moved at a device, and at the server within the
// device's cut. A damaged store is looked at once it is repaired.
func (w *World) check(d *device) error {
	for _, s := range d.store.scopes {
		if _, known := w.scopes[s.ID]; !known {
			return &ViolationError{"I5", d.name + " holds a scope that it was never given"}
		}
	}
	if d.corrupt || w.isRotten(d) {
		d.seen.known = false
		return nil
	}
	ids := w.moved(d)
	for _, c := range checks {
		if v := c(w, d, ids); v != nil {
			return v
		}
	}
	d.seen.known, d.seen.cut, d.seen.oracle = true, d.cut, d.oracle
	d.seen.scopes = append(d.seen.scopes[:0], d.store.scopes...)
	d.store.anew = false
	clear(d.store.moved)
	d.store.movedOps = d.store.movedOps[:0]
	return nil
}

// checkAll runs the checks on everything.
func (w *World) checkAll(d *device) error {
	d.seen.known = false
	return w.check(d)
}

// moved returns the records to look at, in order of id. It forgets what the checks
// knew where that is no longer a basis.
func (w *World) moved(d *device) []syncengine.ID {
	same := slices.EqualFunc(d.seen.scopes, d.store.scopes, func(a, b syncengine.DeviceScope) bool {
		return a.ID == b.ID && a.Bit == b.Bit && a.Ready == b.Ready
	})
	if !d.seen.known || d.store.anew || !same || d.cut < d.seen.cut || d.oracle != d.seen.oracle {
		d.seen.known, d.seen.rows, d.seen.sums = false, make(map[syncengine.ID]seenRow, len(d.store.records)), [64]syncengine.Sum{}
		ids := d.store.sorted()
		for _, id := range d.oracle.ids {
			if d.store.records[id] == nil {
				ids = append(ids, id)
			}
		}
		d.store.each(1, func(op *syncengine.Op) { ids = append(ids, op.Records...) })
		return tidy(ids)
	}
	ids := slices.AppendSeq(make([]syncengine.ID, 0, len(d.store.moved)+8), maps.Keys(d.store.moved))
	from, _ := slices.BinarySearchFunc(d.oracle.moves, d.seen.cut+1, func(m move, seq uint64) int { return cmp.Compare(m.seq, seq) })
	for _, m := range d.oracle.moves[from:] {
		if m.seq > d.cut {
			break
		}
		ids = append(ids, m.record)
	}
	return tidy(ids)
}

func tidy(ids []syncengine.ID) []syncengine.ID {
	slices.SortFunc(ids, syncengine.ID.Compare)
	return slices.Compact(ids)
}

// showsCut is I4, I10, I11, I12 and I13: the rows in the device's ready scopes are
// those of the server at the device's cut, all of them and no other.
func (w *World) showsCut(d *device, ids []syncengine.ID) *ViolationError {
	bits := make(map[syncengine.ScopeKey]uint64, len(d.store.scopes))
	var ready uint64
	for _, s := range d.store.scopes {
		if s.Ready {
			bits[w.scopes[s.ID]] = 1 << s.Bit
			ready |= 1 << s.Bit
		}
	}
	for _, id := range ids {
		held := d.store.records[id]
		if in := d.store.staged[id]; in != nil && in.Scopes == 0 && len(in.Body)+len(in.Stamps) > 0 {
			return &ViolationError{"I5", fmt.Sprintf("%s keeps bytes of %s, which it may no longer hold", d.name, id)}
		}
		if held != nil && held.HasBase && held.Scopes == 0 {
			return &ViolationError{"I5", fmt.Sprintf("%s keeps %s, which is in none of its scopes", d.name, id)}
		}
		if held != nil && held.HasBase && !w.everKnown(id) {
			return &ViolationError{"I4", fmt.Sprintf("%s holds %s, which the server does not know", d.name, id)}
		}
		var in uint64
		truth := d.oracle.stateAt(id, d.cut)
		if truth != nil {
			for _, k := range truth.Scopes {
				in |= bits[k]
			}
		}
		switch {
		case in == 0 && held != nil && held.Scopes&ready != 0:
			return &ViolationError{"I4", fmt.Sprintf("%s shows %s, which is in none of its ready scopes at %d", d.name, id, d.cut)}
		case in == 0:
			continue
		case held == nil || !held.HasBase:
			return &ViolationError{"I4", fmt.Sprintf("%s lacks %s (a %s of sequence %d) at its cut %d", d.name, id, w.rules.Kind(truth.Kind).Name, truth.Seq, d.cut)}
		case held.BaseHash != truth.Hash:
			return &ViolationError{"I4", fmt.Sprintf("%s shows another state of %s than the server had at %d", d.name, id, d.cut)}
		case held.Scopes&ready != in:
			return &ViolationError{"I4", fmt.Sprintf("%s has %s in scopes %b, which were %b at %d", d.name, id, held.Scopes&ready, in, d.cut)}
		}
	}
	return nil
}

// showsOwn is I4's other half and reading one's own writes: what a screen shows is
// the server's state with the own changes on top that are not part of it yet.
func (w *World) showsOwn(d *device, ids []syncengine.ID) *ViolationError {
	if len(ids) == 0 {
		return nil
	}
	var under []*syncengine.Op
	d.store.each(1, func(op *syncengine.Op) {
		if op.State == syncengine.OpQueued || op.State == syncengine.OpApplied {
			under = append(under, op)
		}
	})
	var on []*syncengine.Op
	for _, id := range ids {
		on = on[:0]
		for _, op := range under {
			if slices.Contains(op.Records, id) {
				on = append(on, op)
			}
		}
		if v := w.showsOwnOn(d, id, on); v != nil {
			return v
		}
	}
	return nil
}

func (w *World) showsOwnOn(d *device, id syncengine.ID, on []*syncengine.Op) *ViolationError {
	r := d.store.records[id]
	switch {
	case r == nil:
		if len(on) > 0 && w.over(d, nil, id, on) != nil {
			return &ViolationError{"I11", fmt.Sprintf("%s does not show %s, which it made", d.name, id)}
		}
		return nil
	case r.Pending != len(on):
		return &ViolationError{"I11", fmt.Sprintf("%s counts %d own changes on %s, where %d are", d.name, r.Pending, id, len(on))}
	case r.HasBase && w.foreign(r):
		return &ViolationError{"I4", fmt.Sprintf("%s holds bytes of %s that are not those of its hash", d.name, id)}
	case r.Pending == 0:
		if r.Base != nil || !r.HasBase {
			return &ViolationError{"I4", fmt.Sprintf("%s keeps a second state of %s for nothing", d.name, id)}
		}
		return nil
	case (r.Base != nil) != r.HasBase:
		return &ViolationError{"I4", fmt.Sprintf("%s has lost the server's state of %s under its own changes", d.name, id)}
	}
	top := w.over(d, r.Base, id, on)
	if top == nil || !bytes.Equal(top.Body, r.Body) || !bytes.Equal(top.Stamps, r.Stamps) {
		return &ViolationError{"I11", fmt.Sprintf("%s does not show its own changes on %s", d.name, id)}
	}
	return nil
}

// foreign reports whether a device holds other bytes of the server's state than
// those that it takes them for.
func (w *World) foreign(r *syncengine.DeviceRecord) bool {
	base := &r.Record
	if r.Base != nil {
		base = r.Base
	}
	return base.Hash() != r.BaseHash
}

// over puts changes on top of a state.
func (w *World) over(d *device, base *syncengine.Record, id syncengine.ID, ops []*syncengine.Op) *syncengine.Record {
	for _, op := range ops {
		c := w.decoded.of(op.Envelope, op.Raw)
		by := syncengine.Writer{Stamp: syncengine.StampOf(op.Change), AtMS: c.GetTime().GetWallMs()}
		by.Author, _ = syncengine.IDFromBytes(c.GetAuthor())
		by.Device, _ = syncengine.IDFromBytes(c.GetDevice())
		for _, wr := range c.GetRecords() {
			if to, _ := syncengine.IDFromBytes(wr.GetRecord()); to != id {
				continue
			}
			if applied, err := syncengine.Apply(w.rules.Kind(wr.GetKind()), base, wr, by, outbox{w, d, id}); err == nil {
				base = applied.Record
			}
		}
	}
	return base
}

// outbox is what a device knows beside its records: its own changes.
type outbox struct {
	w      *World
	d      *device
	record syncengine.ID
}

// Awaited reports nothing.
func (outbox) Awaited(syncengine.Path, syncengine.Stamp) (bool, error) { return false, nil }

// Await notes nothing.
func (outbox) Await(syncengine.Path, syncengine.Stamp) error { return nil }

// Written knows nothing.
func (outbox) Written(syncengine.Path, syncengine.Stamp) (syncengine.Head, bool, error) {
	return syncengine.Head{}, false, nil
}

// QuarantinedBases returns what an own change in quarantine named.
func (o outbox) QuarantinedBases(p syncengine.Path, s syncengine.Stamp) (bases []syncengine.Stamp, err error) {
	o.d.store.each(1, func(op *syncengine.Op) {
		notApplied := setAside(op) || op.State == syncengine.OpReoffered && wasSetAside(op.Outcome)
		if !notApplied || syncengine.StampOf(op.Change) != s {
			return
		}
		for _, wr := range o.w.decoded.of(op.Envelope, op.Raw).GetRecords() {
			for _, pw := range wr.GetWrites() {
				if bytes.Equal(wr.GetRecord(), o.record[:]) && pw.GetField() == p.Field && string(pw.GetKey()) == p.Key {
					bases = syncengine.DecodeStamps(pw.GetBases())
				}
			}
		}
	})
	return bases, nil
}

// sums checks that a device's digests are those of its rows.
func (w *World) sums(d *device, ids []syncengine.ID) *ViolationError {
	for _, id := range ids {
		before, now := d.seen.rows[id], seenRow{}
		if r := d.store.records[id]; r != nil && r.HasBase {
			now = seenRow{r.Scopes, r.BaseHash}
		}
		if before == now {
			continue
		}
		d.seen.rows[id] = now
		gone, come := syncengine.Term(id, before.hash), syncengine.Term(id, now.hash)
		for _, s := range d.store.scopes {
			sum := &d.seen.sums[s.Bit]
			if before.scopes&(1<<s.Bit) != 0 {
				*sum = sum.Sub(gone)
			}
			if now.scopes&(1<<s.Bit) != 0 {
				*sum = sum.Add(come)
			}
		}
	}
	for _, s := range d.store.scopes {
		if d.seen.sums[s.Bit] != s.Sum {
			return &ViolationError{"I3", d.name + " keeps a digest that is not that of its rows"}
		}
	}
	return nil
}

// settledIn checks that what a device takes for part of a cut is part of it.
func (w *World) settledIn(d *device, _ []syncengine.ID) *ViolationError {
	if readyMask(d.store.scopes) == 0 {
		return nil // A device that shows nothing has no cut.
	}
	numbers := slices.Values(d.store.movedOps)
	if !d.seen.known {
		numbers = maps.Keys(d.store.ops)
	}
	for n := range numbers {
		op := d.store.ops[n]
		if op == nil || op.State != syncengine.OpSettled {
			continue
		}
		if op.Raw == nil && d.store.forgot[op.Change] || w.undetected(d, op) {
			continue
		}
		if c := d.oracle.changes[op.Change]; c == nil || c.Seq > d.cut || !applied(c.Outcome) {
			return &ViolationError{"I11", fmt.Sprintf("%s takes op %d for part of a cut that does not include it", d.name, op.Number)}
		}
	}
	return nil
}

// homes checks that every record is in the scopes where it belongs: its own, and
// those of the teams that it follows.
func (w *World) homes() error {
	look := func(id syncengine.ID) (*syncengine.Record, error) {
		if r := w.server.records[id]; r != nil {
			return &r.Record, nil
		}
		return nil, nil
	}
	led := map[syncengine.ID][]syncengine.ID{}
	for _, id := range w.server.ids {
		for _, state := range w.server.versions[id] {
			_, followers, err := w.rules.Scopes(w.office.org, &state.Record, look)
			if err != nil {
				return err
			}
			if team, err := syncengine.ParseID(state.Text(syncengine.FieldTeam)); err == nil {
				for _, f := range followers {
					led[f] = append(led[f], team)
				}
			}
		}
	}
	for _, id := range w.server.ids {
		r := w.server.records[id]
		belongs, _, err := w.rules.Scopes(w.office.org, &r.Record, look)
		if err != nil {
			return err
		}
		for _, team := range w.server.teams[id] {
			if !slices.Contains(led[id], team) {
				return &ViolationError{"I5", fmt.Sprintf("%s follows a team to which nothing led it", id)}
			}
			belongs = append(belongs, w.rules.FollowScopes(&r.Record, team)...)
		}
		slices.SortFunc(belongs, syncengine.ScopeKey.Compare)
		belongs = slices.Compact(belongs)
		if !w.atHome(r, belongs) {
			return &ViolationError{"I6", fmt.Sprintf("%s is in scopes %v and belongs in %v", id, r.Scopes, belongs)}
		}
	}
	return nil
}

// overtaken checks that no change lies in quarantine for want of one that its own
// device made before it.
func (w *World) overtaken() error {
	for _, c := range w.server.order {
		switch c.Outcome.GetRefusal() {
		case tandemv1.Refusal_REFUSAL_NO_TARGET, tandemv1.Refusal_REFUSAL_WAITING:
		default:
			continue
		}
		for _, wr := range w.decoded.of(c.BodyHash, c.Body).GetRecords() {
			id, _ := syncengine.IDFromBytes(wr.GetRecord())
			for _, first := range w.server.versions[id] {
				made := w.server.byStamp[mustOrigin(&first.Record)]
				eves := made != nil && w.eve != nil && made.Replica == w.eve.replica
				if made != nil && !eves && made.Replica == c.Replica && made.Op < c.Op && made.Seq > c.Seq && !w.letOut(made.ID) && !w.wasLost(made.ID) {
					return &ViolationError{"I17", fmt.Sprintf("op %d was sent before op %d, which it needs", c.Op, made.Op)}
				}
				break
			}
		}
	}
	return nil
}

func mustOrigin(r *syncengine.Record) syncengine.Stamp {
	o, err := r.Origin()
	if err != nil {
		panic(err)
	}
	return o.Created
}

// whole recomputes every sum, row and index of the server from its records.
func (w *World) whole() error {
	type row struct {
		scope  syncengine.ScopeKey
		record syncengine.ID
	}
	live := map[row]uint64{}
	digests := map[syncengine.ScopeKey]*syncengine.Digest{}
	for _, id := range w.server.ids {
		r := w.server.records[id]
		if r.Record.Hash() != r.Hash {
			return &ViolationError{"I3", fmt.Sprintf("the server's hash of %s is not that of its bytes", id)}
		}
		if _, err := w.decode(r); err != nil {
			return &ViolationError{"I3", fmt.Sprintf("the server's state of %s is not canonical: %v", id, err)}
		}
		for _, k := range r.Scopes {
			live[row{k, id}] = r.Seq
			if digests[k] == nil {
				digests[k] = &syncengine.Digest{}
			}
			b := &digests[k][syncengine.Bucket(id)]
			*b = b.Add(syncengine.Term(id, r.Hash))
		}
	}
	for k, rows := range w.server.members {
		for _, m := range rows {
			seq, in := live[row{k, m.Record}]
			if in != m.Live || in && seq != m.Seq {
				return &ViolationError{"I13", fmt.Sprintf("the index has %s at %d in a scope where it is %v at %d", m.Record, m.Seq, in, seq)}
			}
			delete(live, row{k, m.Record})
		}
	}
	if len(live) > 0 {
		return &ViolationError{"I13", fmt.Sprintf("the index lacks %d rows", len(live))}
	}
	for k, d := range w.server.digests {
		want := digests[k]
		if want == nil {
			want = &syncengine.Digest{}
		}
		if *d != *want {
			return &ViolationError{"I3", "the server's digest of a scope is not that of its rows"}
		}
	}
	return nil
}

// once checks the change log: one entry a change and a replica's op, with the bytes
// that were captured (I1, I7, I16).
func (w *World) once() error {
	ops, ids := map[opKey]bool{}, map[syncengine.ID]bool{}
	for _, c := range w.server.order {
		key := opKey{c.Replica, c.Op}
		if ids[c.ID] || c.Op != 0 && ops[key] {
			return &ViolationError{"I7", fmt.Sprintf("change %s has taken effect twice", c.ID)}
		}
		ids[c.ID], ops[key] = true, true
	}
	byBody := make(map[syncengine.Hash]*syncengine.StoredChange, len(w.server.order))
	for _, c := range w.server.order {
		if syncengine.Hash(sha(c.Body)) != c.BodyHash {
			return &ViolationError{"I1", fmt.Sprintf("the words of change %s are not kept as they came", c.ID)}
		}
		byBody[c.BodyHash] = c
	}
	for id, body := range w.acked {
		c := w.server.changes[id]
		if c == nil {
			// What nobody can read has an id of the server's.
			c = byBody[body]
		}
		if c == nil && w.destroyed(id) {
			w.seen("lost with every copy")
			continue
		}
		if c == nil || c.BodyHash != body || syncengine.HashEnvelope(c.Replica, c.Op, c.Prev, c.BodyHash) != c.Envelope {
			return &ViolationError{"I1", fmt.Sprintf("the acknowledged change %s is not in the history as it was", id)}
		}
	}
	return nil
}

// written is one write of the log.
type written struct {
	stamp    syncengine.Stamp
	raw      []byte
	bases    []syncengine.Stamp
	accepted bool
	// settles: it chose among values that stood there, and needs no head of its own.
	settles bool
}

// nothingLost is I8 and I9: a value that was accepted is a head of its path still,
// or somebody who saw it wrote over it, or a policy closed the matter and says so.
func (w *World) nothingLost() error {
	type place struct {
		record syncengine.ID
		path   syncengine.Path
	}
	log := map[place][]written{}
	var places []place
	// What lay in quarantine is accepted where its last verdict stands.
	bySeq := func(a, b *syncengine.StoredChange) int { return cmp.Compare(a.Seq, b.Seq) }
	for _, c := range slices.SortedFunc(slices.Values(w.server.order), bySeq) {
		for _, wr := range w.decoded.of(c.BodyHash, c.Body).GetRecords() {
			id, _ := syncengine.IDFromBytes(wr.GetRecord())
			add := func(p syncengine.Path, raw, bases []byte) {
				at := place{id, p}
				if log[at] == nil {
					places = append(places, at)
				}
				log[at] = append(log[at], written{
					syncengine.StampOf(c.ID), raw, syncengine.DecodeStamps(bases),
					applied(c.Outcome),
					wr.GetAct() == tandemv1.Act_ACT_RESOLVE,
				})
			}
			fields, err := syncengine.ParseBody(wr.GetBody())
			if err != nil {
				return err
			}
			for _, f := range fields {
				add(f.Path, f.Raw, nil)
			}
			for _, pw := range wr.GetWrites() {
				add(syncengine.Path{Field: pw.GetField(), Key: string(pw.GetKey())}, pw.GetValue(), pw.GetBases())
			}
		}
	}
	w.sealedOnce = map[syncengine.ID]bool{}
	for id, states := range w.server.versions {
		w.sealedOnce[id] = slices.ContainsFunc(states, func(r *syncengine.StoredRecord) bool {
			return w.rules.Kind(r.Kind).Sealed[r.Lifecycle()]
		})
	}
	for _, at := range places {
		rec := w.server.records[at.record]
		if rec == nil {
			continue
		}
		s, err := w.decode(rec)
		if err != nil {
			return err
		}
		heads, _ := s.Heads(at.path)
		over := overwritten(log[at])
		for _, wr := range log[at] {
			head := slices.ContainsFunc(heads, func(h syncengine.Head) bool { return h.Stamp == wr.stamp || wr.accepted && bytes.Equal(h.Raw, wr.raw) })
			_, policy := w.server.items[itemKey{at.record, syncengine.Item{Kind: syncengine.ItemByPolicy, Path: at.path}}]
			if policy {
				w.seen("closed by policy")
			}
			if wr.accepted && !wr.settles && !head && !over[wr.stamp] && !policy {
				return &ViolationError{"I9", fmt.Sprintf("a value of %s at %v is gone and nobody who saw it wrote over it", at.record, at.path)}
			}
			if !wr.accepted && head {
				return &ViolationError{"I7", fmt.Sprintf("a value of %s at %v stands although it is in quarantine", at.record, at.path)}
			}
		}
		if err := w.heads(rec, s, at.path, log[at]); err != nil {
			return err
		}
		if err := w.asked(rec, s, at.path); err != nil {
			return err
		}
	}
	return nil
}

// overwritten lists the stamps that an accepted write names, also through ones in
// quarantine.
func overwritten(log []written) map[syncengine.Stamp]bool {
	over := map[syncengine.Stamp]bool{}
	for more := true; more; {
		more = false
		for _, wr := range log {
			if !wr.accepted && !over[wr.stamp] {
				continue
			}
			for _, b := range wr.bases {
				more = more || !over[b]
				over[b] = true
			}
		}
	}
	return over
}

// asked checks that a path with two values has an open work item.
func (w *World) asked(rec *syncengine.StoredRecord, s *syncengine.State, path syncengine.Path) error {
	if !slices.Contains(s.Conflicts(w.rules.Kind(rec.Kind)), path) {
		return nil
	}
	for key, open := range w.server.items {
		if open && key.record == rec.ID && (key.item.Path == path || key.item.Kind == syncengine.ItemOlderVersion) {
			return nil
		}
	}
	return &ViolationError{"I9", fmt.Sprintf("two values stand at %v of a %s and nobody is asked", path, w.rules.Kind(rec.Kind).Name)}
}
