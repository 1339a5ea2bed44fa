package simtest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
)

// Options choose a run.
type Options struct {
	// Seed of everything that happens.
	Seed uint64
	// Steps of the first phase.
	Steps int
	// Skip are steps to leave out.
	Skip map[int]bool
	// Log keeps a line for everything that happens.
	Log bool
	// Dir, where it is not empty, holds the locks and keys of stores of the product's
	// own that run beside the world's, on disks whose power goes: see mirror.
	Dir string
	// Database is the address of an empty PostgreSQL database in which the server's
	// tables are then; without one they are on a disk too.
	Database string
	// Cut breaks every connection with that database.
	Cut func() error
}

// Report is what a run came to.
type Report struct {
	Options

	// Syncs is the number of requests that the server answered.
	Syncs int
	// Trace is a hash over everything that happened.
	Trace [sha256.Size]byte
	// Events are the lines, if they were wanted.
	Events []string
	// Seen counts rare events by name.
	Seen map[string]int
	// Failed is the first invariant that broke, nil where all held; At the step
	// after which it did, Steps for the second phase.
	Failed *ViolationError
	At     int
}

// ViolationError is a broken invariant.
type ViolationError struct {
	// Invariant by its name, I1 to I30, or what else went wrong.
	Invariant string
	// What is wrong where.
	What string
}

// Error joins both.
func (v *ViolationError) Error() string { return v.Invariant + ": " + v.What }

// Rare are the events that are worth a simulation. A few hundred seeds reach each.
var Rare = []string{
	"a newer app's field", "altered push", "closed by policy", "conflict", "disk failed at a save", "disk failed at an answer",
	"doubled", "eve asks for any record", "eve forges an author", "eve makes a record that is there",
	"eve repeats a change under another number", "eve replays another's request", "eve sends another's change as hers",
	"eve sends what is no change", "eve stands where another stands", "eve takes another's change id",
	"eve writes over a value before she sends it", "eve writes to any record", "fork", "form refused", "group commit",
	"late answer", "node died between commit and answer", "page dropped", "poison", "quarantined REFUSAL_BUNDLED",
	"quarantined REFUSAL_FORBIDDEN", "quarantined REFUSAL_NO_TARGET", "quarantined REFUSAL_UNDECODABLE",
	"quarantined REFUSAL_WAITING", "request refused", "resolve", "retired", "revoked", "rolled back",
	"rolled back over a save", "row delta", "row drop", "row echo", "row whole", "rows from a chunk", "rubbish", "scopes changed",
	"server died before a commit", "staged", "waited for news", "whole row wanted", "written beside",
}

// World is one run.
type World struct {
	Options

	rules  *record.Domain
	engine *syncengine.Server
	client *syncengine.Device
	server *serverStore
	office office

	// nodes are the processes of the server, over one store; engine is one of them.
	nodes []*syncengine.Server

	devices []*device
	eve     *eve
	wire    []*message
	habits  habits

	pcg   rand.PCG
	rng   *rand.Rand
	step  int
	nowMS int64
	// calm: the faults have stopped.
	calm bool

	// scopes by wire id, for the oracle; ids the other way round.
	scopes map[syncengine.ScopeID]syncengine.ScopeKey
	ids    map[syncengine.ScopeKey]syncengine.ScopeID
	// rights are those that people had when last asked; see rightsOf.
	rights  map[syncengine.ID]*rights
	decoded decoded
	open    map[*syncengine.StoredRecord]int
	states  map[*syncengine.StoredRecord]*syncengine.State
	// verdicts given so far, and acknowledged changes.
	verdicts map[opKey]*tandemv1.Outcome
	acked    map[syncengine.ID]syncengine.Hash
	// held is what each person was ever granted.
	held map[syncengine.ID][]*syncengine.Principal
	// screens are what signers saw, and sealedOnce the records that were ever sealed.
	screens    map[signature]screen
	sealedOnce map[syncengine.ID]bool
	identities
	janitor janitor
	decay   decay

	// script says what happens, where chance does not; class is that of the next save.
	script *script
	class  tandemv1.Class

	report Report
	trace  []byte
	still  []byte
}

// habits are what differs from world to world.
type habits struct {
	pageBytes []uint32
	restBytes uint32 // of pages once the faults have stopped
	pushBytes []int
	// realKeys: signatures are Ed25519's; else they cost nothing.
	realKeys bool
	// together: clinicians write on each other's visits to a call that both were at.
	together bool
	inFlight int
	disorder int // once in so many deliveries any message is next, not the oldest
	weights  []int
	total    int
}

// device is one device: its store, its key, and what its process remembers.
type device struct {
	name    string
	person  *person
	id      syncengine.ID // its record
	replica syncengine.ID
	key     *key
	store   *deviceStore
	mirror  *deviceMirror
	image   *picture // an old copy of its disk
	skewMS  int64
	frozen  bool

	// life of the process: an answer to an earlier one reaches nobody.
	life int
	out  []*call
	ask  bool

	// cut is the sequence that its screens show, of the history in oracle; seen is what
	// the checks know.
	cut    uint64
	oracle *serverStore
	seen   seen
	// restored: an old copy of its disk was put back, or it is a copy of another.
	restored bool
	// corrupt: a row of its store was damaged, and it has not been repaired since.
	corrupt bool
	// rotted: some of its saves have; spoiled: sealed copies of them are to be delivered.
	rotted, spoiled bool
	// refused: the server did not compare when it was last asked to.
	refused bool
}

// call is a request on its way.
type call struct {
	life    int
	replica syncengine.ID
	key     *key
	req     *tandemv1.SyncRequest
	ops     []uint64
	// compare is set where the call is a comparison instead.
	compare *tandemv1.ReconcileRequest
}

// phase is the source of chance of set-up, and of the second phase.
const (
	setUpChance = 1 << 40
	quietChance = 1 << 41
)

// domain is the product's own; it holds no state.
var domain = record.New()

// Run runs one world.
func Run(o Options) *Report { return run(o, nil) }

func run(o Options, s *script) (report *Report) {
	w := &World{
		script: s, calm: s != nil,
		Options: o, rules: domain, nowMS: 1_790_000_000_000,
		scopes:   map[syncengine.ScopeID]syncengine.ScopeKey{},
		ids:      map[syncengine.ScopeKey]syncengine.ScopeID{},
		rights:   map[syncengine.ID]*rights{},
		decoded:  decoded{},
		open:     map[*syncengine.StoredRecord]int{},
		states:   map[*syncengine.StoredRecord]*syncengine.State{},
		verdicts: map[opKey]*tandemv1.Outcome{},
		acked:    map[syncengine.ID]syncengine.Hash{},
		held:     map[syncengine.ID][]*syncengine.Principal{},
		screens:  map[signature]screen{},
		identities: identities{
			keys: map[syncengine.ID]*key{}, gone: map[syncengine.ID]bool{},
			bodies: map[syncengine.ID]syncengine.Hash{}, poisoned: map[syncengine.ID]bool{},
		},
		trace: make([]byte, 0, 32<<10),
	}
	w.rng = rand.New(&w.pcg)
	w.decay = newDecay(w)
	w.report = Report{Options: o, Seen: map[string]int{}, At: o.Steps}
	defer func() {
		if p := recover(); p != nil {
			w.report.Failed = &ViolationError{"panic", fmt.Sprintf("%v\n%s", p, debug.Stack())}
			w.report.At, report = w.step, &w.report
		}
	}()
	defer w.end()
	err := w.run()
	if err != nil {
		v, ok := errors.AsType[*ViolationError](err)
		if !ok {
			v = &ViolationError{Invariant: "error", What: err.Error()}
		}
		w.report.Failed = v
		w.event("FAILED %v", v)
	}
	w.report.Trace = sha256.Sum256(w.trace)
	return &w.report
}

func (w *World) run() error {
	w.chance(setUpChance)
	if err := w.setUp(); err != nil {
		return fmt.Errorf("setting up: %w", err)
	}
	for w.step = range w.Steps {
		if w.Skip[w.step] {
			continue
		}
		w.chance(uint64(w.step))
		w.nowMS += 1 + w.rng.Int64N(60_000)
		do := w.act
		if w.script != nil {
			do = func() error { return w.play(w.step) }
		}
		w.rot()
		if err := do(); err != nil {
			w.report.At = w.step
			return err
		}
	}
	w.step = w.Steps
	w.chance(quietChance)
	if err := w.quiet(); err != nil {
		return err
	}
	return w.mirrored()
}

// chance starts the source of chance of one step.
func (w *World) chance(step uint64) { w.pcg.Seed(w.Seed, step) }

// Read makes the world an io.Reader of its chance.
func (w *World) Read(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		rest = rest[copy(rest, binary.LittleEndian.AppendUint64(nil, w.rng.Uint64())):]
	}
	return len(p), nil
}

// newID makes an id whose time part means nothing.
func (w *World) newID() syncengine.ID {
	id, err := syncengine.NewID(w.rng.Int64N(1<<44), w)
	if err != nil {
		panic(err)
	}
	return id
}

// act does one action of the table.
func (w *World) act() error {
	if w.habits.together && w.odds(2) {
		return w.writeTogether()
	}
	n := w.rng.IntN(w.habits.total)
	for i, weight := range w.habits.weights {
		if n -= weight; n < 0 {
			return actions[i].do(w)
		}
	}
	return nil
}

// event notes that something happened.
func (w *World) event(format string, args ...any) {
	at := len(w.trace)
	w.trace = appendf(w.trace, format, args...)
	if w.Log {
		w.report.Events = append(w.report.Events, fmt.Sprintf("%4d  %s", w.step, w.trace[at:]))
	}
	w.trace = append(w.trace, '\n')
}

// appendf is fmt.Appendf, quicker for what events are mostly made of: they are written in
// every world and read in those that fail.
func appendf(b []byte, format string, args ...any) []byte {
	for _, arg := range args {
		i := strings.IndexByte(format, '%')
		verb := format[i+1]
		b = append(b, format[:i]...)
		format = format[i+2:]
		switch arg := arg.(type) {
		case string:
			b = append(b, arg...)
		case int:
			b = strconv.AppendInt(b, int64(arg), 10)
		case uint64:
			b = strconv.AppendUint(b, arg, 10)
		case bool:
			b = strconv.AppendBool(b, arg)
		default:
			b = fmt.Appendf(b, "%"+string(verb), arg)
		}
	}
	return append(b, format...)
}

// seen counts a rare event.
func (w *World) seen(what string) { w.report.Seen[what]++ }

// one returns a random element.
func one[T any](w *World, all []T) T { return all[w.rng.IntN(len(all))] }

// odds reports true once in n times.
func (w *World) odds(n int) bool { return w.rng.IntN(n) == 0 }

// stays reports whether the transaction that runs next is committed: but once in n
// times, until the faults stop, or where the script says so.
func (w *World) stays(n int) bool {
	if w.script != nil && w.script.crash {
		w.script.crash = false
		return false
	}
	return !w.fault(n)
}

// fault reports true once in n times, until the faults stop.
func (w *World) fault(n int) bool { return !w.calm && w.odds(n) }

// pick returns a device, nil where there is none.
func (w *World) pick() *device {
	if len(w.devices) == 0 {
		return nil
	}
	return one(w, w.devices)
}

// wall is the device's clock.
func (w *World) wall(d *device) int64 {
	if d.frozen {
		return d.skewMS
	}
	return max(0, w.nowMS+d.skewMS)
}

// transact runs one transaction of the device's store. It fails at its n-th call
// for n > 0, and is taken back on an error or where stay is false.
func (d *device) transact(n int, stay bool, do func(tx syncengine.DeviceTx) error) error {
	if d.mirror != nil {
		return d.mirror.transact(d, n, stay, do)
	}
	d.store.begin(n)
	err := do(d.store)
	if d.store.blown && err == nil {
		err = &ViolationError{"storage", d.name + ": the engine went on after its store had failed"}
	}
	d.store.end(err == nil && stay)
	return err
}

// write runs one write transaction of the server's store, likewise.
func (w *World) write(n int, stay bool, do func(tx syncengine.ServerTx) error) error {
	if w.server.mirror != nil {
		return w.server.mirror.write(w.server, n, stay, do)
	}
	w.server.begin(n)
	err := do(w.server)
	if w.server.blown && err == nil {
		err = &ViolationError{"storage", "the server went on after its store had failed"}
	}
	w.server.end(err == nil && stay)
	return err
}

// read runs do over one snapshot of the server's store.
func (w *World) read(do func(view syncengine.ServerView) error) error {
	w.server.begin(0)
	defer w.server.end(true)
	if w.server.mirror != nil {
		return w.server.mirror.read(w.server, do)
	}
	return do(w.server)
}
