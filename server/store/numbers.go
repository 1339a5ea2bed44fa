package store

import (
	"database/sql"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// numbers are the small numbers that stand for scopes and replicas in one org's
// rows. Once published they are shared and never changed.
type numbers struct {
	scopes    map[syncengine.ScopeKey]int64
	scopeKeys map[int64]syncengine.ScopeKey
	// newest is the largest number of a scope: those that are made later have larger ones.
	newest     int64
	replicas   map[syncengine.ID]*replicaNumber
	replicaIDs map[int64]*replicaNumber
}

// replicaNumber is what never changes of a replica.
type replicaNumber struct {
	num                int64
	id, person, device syncengine.ID
}

func noNumbers() *numbers {
	return &numbers{
		scopes: map[syncengine.ScopeKey]int64{}, scopeKeys: map[int64]syncengine.ScopeKey{},
		replicas: map[syncengine.ID]*replicaNumber{}, replicaIDs: map[int64]*replicaNumber{},
	}
}

func (n *numbers) addScope(num int64, k syncengine.ScopeKey) {
	n.scopes[k], n.scopeKeys[num], n.newest = num, k, max(n.newest, num)
}

func (n *numbers) addReplica(r *replicaNumber) {
	n.replicas[r.id], n.replicaIDs[r.num] = r, r
}

// published returns what is known of an org's numbers, and the era of that.
func (s *Store) published(org *Org) (*numbers, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.numbers[org.num]; n != nil {
		return n, s.era
	}
	return noNumbers(), s.era
}

// publishNumbers makes numbers known that were read or made durable in an era.
func (s *Store) publishNumbers(org *Org, n *numbers, era uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if era == s.era {
		s.numbers[org.num] = n
	}
}

// load reads the numbers afresh: something is asked for that is not known.
func (v *view) load() error {
	n := noNumbers()
	err := v.c.each("SELECT num, owner, owner_id, compartment, open FROM scope WHERE org = $1", []any{v.org.num}, func(rows *sql.Rows) error {
		var num, owner, compartment, open int64
		var k syncengine.ScopeKey
		if err := rows.Scan(&num, &owner, (*scanID)(&k.OwnerID), &compartment, &open); err != nil {
			return err
		}
		k.Owner, k.Compartment, k.Open = syncengine.OwnerKind(owner), tandemv1.Compartment(compartment), open != 0
		n.addScope(num, k)
		return nil
	})
	if err != nil {
		return err
	}
	err = v.c.each("SELECT num, id, person, device FROM replica WHERE org = $1", []any{v.org.num}, func(rows *sql.Rows) error {
		r := &replicaNumber{}
		if err := rows.Scan(&r.num, (*scanID)(&r.id), (*scanID)(&r.person), (*scanID)(&r.device)); err != nil {
			return err
		}
		n.addReplica(r)
		return nil
	})
	if err != nil {
		return err
	}
	v.numbers, v.loaded = n, true
	return nil
}

// scopeNumber returns the number of a scope; false where it has none.
func (v *view) scopeNumber(k syncengine.ScopeKey) (int64, bool, error) {
	num, ok := v.numbers.scopes[k]
	if ok || v.loaded || v.complete {
		return num, ok, nil
	}
	// Most scopes that have no number known have none yet: nothing is in them. Every device
	// asks for several of those, and to read all numbers takes longer the more there are: so
	// what is known is compared once with the newest there is.
	var newest int64
	if _, err := v.c.one("SELECT COALESCE(max(num), 0) FROM scope WHERE org = $1", []any{v.org.num}, &newest); err != nil {
		return 0, false, err
	}
	// They may be those of a later snapshot than this one, which tells as much.
	if v.complete = newest <= v.numbers.newest; v.complete {
		return 0, false, nil
	}
	if err := v.load(); err != nil {
		return 0, false, err
	}
	num, ok = v.numbers.scopes[k]
	return num, ok, nil
}

func (v *view) scopeKey(num int64) (syncengine.ScopeKey, error) {
	k, ok := v.numbers.scopeKeys[num]
	if !ok && !v.loaded {
		if err := v.load(); err != nil {
			return k, err
		}
		k, ok = v.numbers.scopeKeys[num]
	}
	if !ok {
		return k, ErrDamaged
	}
	return k, nil
}

// replicaByID returns a replica's number, nil where it is unknown.
func (v *view) replicaByID(id syncengine.ID) (*replicaNumber, error) {
	r := v.numbers.replicas[id]
	if r == nil && !v.loaded {
		if err := v.load(); err != nil {
			return nil, err
		}
		r = v.numbers.replicas[id]
	}
	return r, nil
}

// replicaByNum returns the replica of a stored number.
func (v *view) replicaByNum(num int64) (*replicaNumber, error) {
	r := v.numbers.replicaIDs[num]
	if r == nil && !v.loaded {
		if err := v.load(); err != nil {
			return nil, err
		}
		r = v.numbers.replicaIDs[num]
	}
	if r == nil {
		return nil, ErrDamaged
	}
	return r, nil
}
