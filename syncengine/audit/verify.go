package audit

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Witness is a checkpoint with the place where it was kept.
type Witness struct {
	*Checkpoint

	// From says who kept it, in words.
	From string
}

// Report is what a check of a log found.
type Report struct {
	// Entries checked; Root is that of their tree.
	Entries int64
	Root    Hash
	// Checkpoints that hold, Signed the size of the largest of them: what stands behind
	// it nobody has signed yet.
	Checkpoints int
	Signed      int64
	// Chains of devices that hold, by replica: the number of the last entry.
	Chains map[syncengine.ID]uint64
	// Faults say what does not hold: the log was altered. Lost says what a restored
	// database has lost, Notes what an auditor should look at.
	Faults, Lost, Notes []string
}

func (r *Report) fault(format string, args ...any) {
	const maxFaults = 100
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Check checks a log, entry by entry. Not safe for concurrent use.
type Check struct {
	org syncengine.ID
	// org keys, the first one first; signing is the place of the one that signs what comes.
	ring    []ed25519.PublicKey
	signing int
	tree    Tree
	r       *Report
	// due are the checkpoints that are not reached yet, by size; ends where the epochs
	// of the log ended, by epoch.
	due  []Witness
	held int64
	bad  bool
	// number is that of the entry that should come next.
	number int64
	ends   map[syncengine.ID]int64
	epochs []syncengine.ID
	// keys of replicas; chains where each stands.
	keys   map[syncengine.ID]ed25519.PublicKey
	chains map[syncengine.ID]*chain
	// commits that entries have named.
	commits map[uint64]syncengine.Hash
	began   uint64
}

type chain struct {
	number uint64
	hash   syncengine.Hash
	// known: hash is that at number.
	known bool
	// signed is up to where the device has signed.
	signed uint64
}

// NewCheck begins a check against checkpoints, whose signatures are looked at first. ring
// are the org's keys, the first one first: the log says from where on the next one signs.
// keys are those of replicas that the log itself does not name.
func NewCheck(org syncengine.ID, ring []ed25519.PublicKey, keys map[syncengine.ID]ed25519.PublicKey, witnesses []Witness) *Check {
	c := &Check{
		org: org, ring: ring, r: &Report{Chains: map[syncengine.ID]uint64{}}, ends: map[syncengine.ID]int64{},
		keys: map[syncengine.ID]ed25519.PublicKey{}, chains: map[syncengine.ID]*chain{}, commits: map[uint64]syncengine.Hash{},
	}
	maps.Copy(c.keys, keys)
	for _, w := range witnesses {
		if w.Org != org || c.signer(w) < 0 {
			c.r.fault("a checkpoint of size %d (%s) is not signed by the organization's key", w.Size, w.From)
			continue
		}
		c.due = append(c.due, w)
	}
	slices.SortStableFunc(c.due, func(a, b Witness) int { return cmp.Compare(a.Size, b.Size) })
	return c
}

// signer returns the place of the key that has signed a checkpoint, -1 for none.
func (c *Check) signer(w Witness) int { return slices.IndexFunc(c.ring, w.Signed) }

// Add takes the next entry, with the number under which it stands.
func (c *Check) Add(number int64, raw []byte) {
	switch {
	case number > c.number:
		c.r.fault("entries %d to %d are missing", c.number, number-1)
	case number < c.number:
		c.r.fault("entry %d stands in the wrong place", number)
	}
	c.number = number + 1
	e, err := Decode(raw)
	if err != nil {
		c.r.fault("entry %d cannot be read", number)
	} else {
		c.entry(number, e)
	}
	c.tree.Append(raw)
	c.reached()
}

// reached compares the tree with the checkpoints of its size.
func (c *Check) reached() {
	for len(c.due) > 0 && c.due[0].Size <= c.tree.Size() {
		w := c.due[0]
		c.due = c.due[1:]
		if w.Size != c.tree.Size() {
			continue
		}
		if w.Root == c.tree.Root() {
			if c.signer(w) != c.signing {
				c.r.fault("the checkpoint of %d entries (%s) is signed with another key than the organization's at that place", w.Size, w.From)
				continue
			}
			c.r.Checkpoints++
			c.r.Signed, c.held = w.Size, w.Size
			continue
		}
		if n := len(c.epochs); n > 0 && w.Epoch != c.epochs[n-1] {
			c.lost(w)
			continue
		}
		if !c.bad {
			c.r.fault("entries %d to %d are not those that were signed: the checkpoint of %d entries (%s) has another root", c.held, w.Size-1, w.Size, w.From)
		}
		// Once is enough: every later one differs for the same reason.
		c.bad = true
	}
}

// lost notes a checkpoint of an epoch that did not go on. That of an epoch which the log
// does not know was signed over another log.
func (c *Check) lost(w Witness) {
	if !slices.Contains(c.epochs, w.Epoch) {
		c.r.fault("a checkpoint of %d entries (%s) is of an epoch that the log does not know", w.Size, w.From)
		return
	}
	c.r.Lost = append(c.r.Lost, fmt.Sprintf("a checkpoint of %d entries (%s) is of an epoch that was lost when the database was set back", w.Size, w.From))
}

// entry looks into an entry.
func (c *Check) entry(number int64, e *tandemv1.AuditEntry) {
	replica, _ := syncengine.IDFromBytes(e.GetReplica())
	if len(e.GetCommit()) == len(syncengine.Hash{}) {
		if at, twice := c.commits[e.GetSeq()]; twice && at != syncengine.Hash(e.GetCommit()) {
			c.r.Notes = append(c.r.Notes, fmt.Sprintf("entry %d names another commit at sequence %d than an entry before: the database was set back in between", number, e.GetSeq()))
		}
		c.commits[e.GetSeq()] = syncengine.Hash(e.GetCommit())
	}
	switch e.GetAct() {
	case tandemv1.AuditAct_AUDIT_ACT_BEGAN:
		c.began = e.GetSeq()
		c.epoch(number, e)
	case tandemv1.AuditAct_AUDIT_ACT_EPOCH:
		c.epoch(number, e)
		c.r.Notes = append(c.r.Notes, fmt.Sprintf("entry %d: a new epoch began, because the database was set back", number))
	case tandemv1.AuditAct_AUDIT_ACT_ENROLLED, tandemv1.AuditAct_AUDIT_ACT_REINSTANCED, tandemv1.AuditAct_AUDIT_ACT_READMITTED,
		tandemv1.AuditAct_AUDIT_ACT_REKEYED:
		if len(e.GetKey()) == ed25519.PublicKeySize {
			c.keys[replica] = e.GetKey()
		}
	case tandemv1.AuditAct_AUDIT_ACT_ORG_KEYED:
		i := slices.IndexFunc(c.ring, func(key ed25519.PublicKey) bool { return key.Equal(ed25519.PublicKey(e.GetKey())) })
		if i < 0 {
			c.r.fault("entry %d: a key of the organization that nobody has announced", number)
			return
		}
		if i != c.signing+1 {
			c.r.fault("entry %d: key %d of the organization does not follow key %d: the log does not go back to a key, and passes none over", number, i+1, c.signing+1)
			return
		}
		c.signing = i
	case tandemv1.AuditAct_AUDIT_ACT_FROM_DEVICE:
		c.fromDevice(number, replica, e)
	case tandemv1.AuditAct_AUDIT_ACT_CHAIN:
		c.delivered(number, replica, e)
	case tandemv1.AuditAct_AUDIT_ACT_CHAIN_GAP:
		c.r.Notes = append(c.r.Notes, fmt.Sprintf("entry %d: replica %s never delivered entries %s of its chain", number, replica, rangeText(e.GetOps())))
		ch := c.chain(replica)
		ch.known = false
		for _, r := range e.GetOps() {
			ch.number = r.GetLast()
		}
	case tandemv1.AuditAct_AUDIT_ACT_CHAIN_FORK:
		c.r.Notes = append(c.r.Notes, fmt.Sprintf("entry %d: replica %s has two chains: entries %s differ from those that came before", number, replica, rangeText(e.GetOps())))
		// Where it goes on, it does so from a hash of its own, which its device has signed.
		ch := c.chain(replica)
		for _, r := range e.GetOps() {
			ch.known = ch.known && r.GetLast() <= ch.number
		}
	case tandemv1.AuditAct_AUDIT_ACT_CHECKPOINT_LOST:
		c.r.Notes = append(c.r.Notes, fmt.Sprintf("entry %d: replica %s presented a checkpoint that this log does not hold", number, replica))
	}
}

func (c *Check) epoch(number int64, e *tandemv1.AuditEntry) {
	if n := len(c.epochs); n > 0 {
		c.ends[c.epochs[n-1]] = number
	}
	id, _ := syncengine.IDFromBytes(e.GetEpoch())
	c.epochs = append(c.epochs, id)
}

func rangeText(ops []*tandemv1.OpRange) (text string) {
	for _, r := range ops {
		text += fmt.Sprintf(" %d to %d", r.GetFirst(), r.GetLast())
	}
	return text
}

func (c *Check) chain(replica syncengine.ID) *chain {
	ch := c.chains[replica]
	if ch == nil {
		ch = &chain{known: true}
		c.chains[replica] = ch
	}
	return ch
}

// fromDevice follows a device's chain.
func (c *Check) fromDevice(number int64, replica syncengine.ID, e *tandemv1.AuditEntry) {
	ch := c.chain(replica)
	if e.GetNumber() != ch.number+1 {
		c.r.fault("entry %d: the chain of replica %s goes from %d to %d", number, replica, ch.number, e.GetNumber())
	}
	if !ch.known && len(e.GetHash()) == len(ch.hash) {
		// Behind a gap: the hash before it is as the device stated it.
		ch.hash, ch.known = syncengine.Hash(e.GetHash()), true
	}
	ch.hash = ChainHash(replica, e.GetNumber(), ch.hash, e.GetEntry())
	ch.number = e.GetNumber()
	inner, err := Decode(e.GetEntry())
	if err != nil {
		c.r.fault("entry %d: what replica %s delivered cannot be read", number, replica)
		return
	}
	if inner.GetAct() == tandemv1.AuditAct_AUDIT_ACT_LOG_REWRITTEN {
		c.r.fault("entry %d: replica %s found that the server's log does not extend the checkpoint that it kept", number, replica)
	}
}

// delivered compares a chain with what its device signed.
func (c *Check) delivered(number int64, replica syncengine.ID, e *tandemv1.AuditEntry) {
	ch := c.chain(replica)
	key := c.keys[replica]
	switch {
	case ch.number != e.GetNumber() || string(ch.hash[:]) != string(e.GetHash()):
		c.r.fault("entry %d: the entries of replica %s up to %d are not those that it signed", number, replica, e.GetNumber())
	case key == nil:
		c.r.fault("entry %d: no key of replica %s is known, so that its signature cannot be checked", number, replica)
	case !ChainSigned(key, replica, e.GetNumber(), ch.hash, e.GetSignature()):
		c.r.fault("entry %d: the signature of replica %s does not fit its chain", number, replica)
	default:
		ch.signed = ch.number
	}
}

// Commit checks that an entry names a commit of the history.
func (c *Check) Commit(seq uint64, hash syncengine.Hash) {
	if seq <= c.began {
		return
	}
	if named, ok := c.commits[seq]; !ok || named != hash {
		c.r.fault("commit %d of the history is in no entry: changes were made, or entries removed, behind the log's back", seq)
	}
}

// End ends the check.
func (c *Check) End() *Report {
	for _, w := range c.due {
		n := len(c.epochs)
		_, ended := c.ends[w.Epoch]
		switch {
		case w.Size == 0:
		case n > 0 && w.Epoch != c.epochs[n-1] && ended:
			c.lost(w)
		default:
			c.r.fault("the log ends after %d entries; a checkpoint of %d was signed (%s): entries were cut off", c.tree.Size(), w.Size, w.From)
		}
	}
	for replica, ch := range c.chains {
		c.r.Chains[replica] = ch.signed
		if ch.signed != ch.number {
			c.r.fault("entries %d to %d of replica %s are not signed by it", ch.signed+1, ch.number, replica)
		}
	}
	slices.Sort(c.r.Faults)
	c.r.Entries, c.r.Root = c.tree.Size(), c.tree.Root()
	return c.r
}

// Tree is the tree of what was added so far.
func (c *Check) Tree() *Tree { return &c.tree }
