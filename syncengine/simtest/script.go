package simtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// scriptSeed is the seed of every script: it says what ids and texts there are.
const scriptSeed = 1

// script makes a world do what its lines say, with no chance about what happens:
// d0 is Ana's, d1 Ben's, d2 the lead's, d3 the police partner's, d4 Cal's of the
// other team.
type script struct {
	lines []string
	// crash and fail are for the next transaction: its process dies before the
	// commit, or its store fails at the call of that number.
	crash bool
	fail  int
}

// Play runs a script. The checks of a seeded run hold after each line, and at the
// end, as there, everything comes to rest. Lines are commands with their operands;
// # begins a remark.
func Play(text string) *Report {
	s := &script{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			s.lines = append(s.lines, line)
		}
	}
	return run(Options{Seed: scriptSeed, Steps: len(s.lines), Log: true}, s)
}

// commands are what a script may say: operands, and what it does.
var commands = map[string]struct {
	operands string
	do       func(w *World, args []string) error
}{
	"visit":    {"DEVICE", (*World).sayVisit},
	"write":    {"DEVICE KIND FIELD TEXT [urgent]", (*World).sayWrite},
	"settle":   {"DEVICE KIND", (*World).saySettle},
	"ask":      {"DEVICE [push=BYTES] [page=BYTES] [all]", (*World).sayAsk},
	"deliver":  {"[MESSAGE]", (*World).sayDeliver},
	"finish":   {"", func(w *World, _ []string) error { return w.finish() }},
	"group":    {"", func(w *World, _ []string) error { return w.group() }},
	"lose":     {"MESSAGE", (*World).sayLose},
	"double":   {"MESSAGE", (*World).sayDouble},
	"alter":    {"", func(w *World, _ []string) error { return w.tamper() }},
	"kill":     {"DEVICE", (*World).sayKill},
	"giveup":   {"DEVICE", (*World).sayGiveUp},
	"image":    {"DEVICE", (*World).sayImage},
	"rollback": {"DEVICE", (*World).sayRollBack},
	"revoke":   {"DEVICE", (*World).sayRevoke},
	"backup":   {"", func(w *World, _ []string) error { return w.backUp() }},
	"setback":  {"", (*World).saySetBack},
	"release":  {"PERSON", func(w *World, args []string) error { return w.sayDecide(args, 0) }},
	"dismiss":  {"PERSON", func(w *World, args []string) error { return w.sayDecide(args, 4) }},
	"replace":  {"PERSON", func(w *World, args []string) error { return w.sayDecide(args, 5) }},
	"join":     {"PERSON TEAM", func(w *World, args []string) error { return w.sayTeam(args, true) }},
	"leave":    {"PERSON TEAM", func(w *World, args []string) error { return w.sayTeam(args, false) }},
	"crash":    {"", func(w *World, _ []string) error { w.script.crash = true; return nil }},
	"fail":     {"CALL", (*World).sayFail},
}

// play does the line of a step.
func (w *World) play(step int) error {
	line := w.script.lines[step]
	w.event("> %s", line)
	words := strings.Fields(line)
	c, known := commands[words[0]]
	if !known {
		return fmt.Errorf("line %d: there is no command %q", step+1, words[0])
	}
	need := 0
	for operand := range strings.FieldsSeq(c.operands) {
		if !strings.HasPrefix(operand, "[") {
			need++
		}
	}
	if len(words)-1 < need {
		return fmt.Errorf("line %d: %s takes %s", step+1, words[0], c.operands)
	}
	return c.do(w, words[1:])
}

// named returns a device by name.
func (w *World) named(name string) (*device, error) {
	i := slices.IndexFunc(w.devices, func(d *device) bool { return d.name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no device %q", name)
	}
	return w.devices[i], nil
}

// onWire returns the index of a message, counted from 0.
func (w *World) onWire(args []string) (int, error) {
	if len(args) == 0 {
		args = []string{"0"}
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 || n >= len(w.wire) {
		return 0, fmt.Errorf("there is no message %s: %d are on their way", args[0], len(w.wire))
	}
	return n, nil
}

func (w *World) sayVisit(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	writes, err := w.visit(d)
	if err != nil {
		return err
	}
	w.class = tandemv1.Class_CLASS_NORMAL
	return w.save(d, writes)
}

// sayWrite types into a field of the first record of a kind on the screen.
func (w *World) sayWrite(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	on := w.shown(d, args[1])
	if len(on) == 0 {
		return fmt.Errorf("%s shows no %s", d.name, args[1])
	}
	s, err := syncengine.Decode(&on[0].Record)
	if err != nil {
		return err
	}
	field := fieldOf(args[1], args[2])
	w.class = tandemv1.Class_CLASS_NORMAL
	if len(args) > 4 {
		w.class = tandemv1.Class_CLASS_URGENT
	}
	return w.save(d, []*tandemv1.RecordWrite{setOf(s, on[0].ID, on[0].Kind, edit{syncengine.Path{Field: field}, syncengine.StringField(field, args[3])})})
}

// saySettle settles an open path of the first record of a kind that has one.
func (w *World) saySettle(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	for _, rec := range w.shown(d, args[1]) {
		s, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		if wr := w.resolve(rec, s); wr != nil {
			return w.save(d, []*tandemv1.RecordWrite{wr})
		}
	}
	return fmt.Errorf("%s shows no %s with two values", d.name, args[1])
}

func (w *World) sayAsk(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	if done, err := w.mend(d); done || err != nil {
		return err
	}
	o := syncengine.PlanOptions{WallMS: w.wall(d), PushBytes: 1 << 20, PageBytes: 1 << 20, Ask: d.ask}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "push":
			o.PushBytes = n
		case "page":
			o.PageBytes = uint32(n)
		case "all":
			o.Ask = true
		}
	}
	return w.send(d, o)
}

func (w *World) sayDeliver(args []string) error {
	i, err := w.onWire(args)
	if err != nil {
		return err
	}
	return w.move(w.take(i))
}

// finish delivers everything that is on its way.
func (w *World) finish() error {
	for len(w.wire) > 0 {
		if err := w.move(w.take(0)); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) sayLose(args []string) error {
	i, err := w.onWire(args)
	if err != nil {
		return err
	}
	m := w.take(i)
	w.event("a message of %s is lost at stage %d", m.device.name, m.stage)
	m.device.out = slices.DeleteFunc(m.device.out, func(c *call) bool { return c == m.call })
	m.device.ask = true
	return nil
}

func (w *World) sayDouble(args []string) error {
	i, err := w.onWire(args)
	if err != nil {
		return err
	}
	again := *w.wire[i]
	w.wire = append(w.wire, &again)
	return nil
}

func (w *World) sayKill(args []string) error {
	d, err := w.named(args[0])
	if err == nil {
		w.kill(d)
	}
	return err
}

func (w *World) sayGiveUp(args []string) error {
	d, err := w.named(args[0])
	if err == nil {
		d.out, d.ask = nil, true
	}
	return err
}

func (w *World) sayImage(args []string) error {
	d, err := w.named(args[0])
	if err == nil {
		d.image = d.picture()
	}
	return err
}

func (w *World) sayRollBack(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	if d.image == nil {
		return fmt.Errorf("%s has no image", d.name)
	}
	return w.putBack(d)
}

func (w *World) sayRevoke(args []string) error {
	d, err := w.named(args[0])
	if err != nil {
		return err
	}
	return w.setRevoked(d, true)
}

func (w *World) saySetBack([]string) error {
	if w.backup == nil {
		return errors.New("there is no backup")
	}
	return w.setBack()
}

// sayDecide is a person's decision on the first save in quarantine.
func (w *World) sayDecide(args []string, what int) error {
	i := slices.IndexFunc(w.office.people, func(p *person) bool { return p.name == args[0] })
	lying := w.server.lyingIDs()
	if i < 0 || len(lying) == 0 {
		return fmt.Errorf("there is no person %s, or nothing in quarantine", args[0])
	}
	return w.decideOn(w.office.people[i], lying[0], what, 0, true)
}

func (w *World) sayTeam(args []string, in bool) error {
	i := slices.IndexFunc(w.office.people, func(p *person) bool { return p.name == args[0] })
	team, err := strconv.Atoi(args[1])
	if i < 0 || err != nil || team < 0 || team >= len(w.office.teams) {
		return fmt.Errorf("there is no person %s or no team %s", args[0], args[1])
	}
	return w.changeTeam(w.office.people[i], w.office.teams[team], in)
}

func (w *World) sayFail(args []string) (err error) {
	w.script.fail, err = strconv.Atoi(args[0])
	return err
}
