package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// rest is how long a draft has to be quiet until it becomes a save.
const rest = time.Minute

// mostShown bounds how many pages' records are remembered.
const mostShown = 256

// typing is what people type and is no save yet.
type typing struct {
	mu sync.Mutex
	// open are the drafts that this process has seen, by key. A nil one is known not to
	// be there.
	open map[string]*draft
	// shown are records as pages showed them, by id and fingerprint; order is theirs.
	// own leads from what a page showed to what the app's own save made of it.
	shown map[string]*syncengine.Record
	own   map[string]string
	order []string
	// read: the drafts of earlier runs are among the open.
	read bool
}

func (t *typing) init() {
	t.open, t.shown, t.own = map[string]*draft{}, map[string]*syncengine.Record{}, map[string]string{}
}

// draft is the typing in one sheet, as it stands in the store.
type draft struct {
	Kind   string `json:"kind"`
	Record string `json:"record"`
	// Body and Stamps are the record as the page showed it; nil where there is none yet.
	Body   []byte            `json:"body,omitempty"`
	Stamps []byte            `json:"stamps,omitempty"`
	Fields map[string]*typed `json:"fields"`
	// Of is what a record that is not made yet will be about, as its page is asked for.
	Of   map[string]string `json:"of,omitempty"`
	AtMS int64             `json:"at_ms"`
	// Stuck fields did not become a save, and Why.
	Stuck []string `json:"stuck,omitempty"`
	Why   string   `json:"why,omitempty"`
}

// typed is one field of it. N counts its versions, so that two windows notice each other.
type typed struct {
	Values []string `json:"values"`
	N      int      `json:"n"`
	// Others are what other windows had typed there.
	Others []string `json:"others,omitempty"`
}

// some reports whether there is typing that is no save yet.
func (t *typing) some() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, d := range t.open {
		if d != nil {
			return true
		}
	}
	return false
}

func draftKey(kind, id string) string { return "sheet/" + kind + "/" + id }

// fingerprint tells whether a record looks as it did.
func fingerprint(view *client.View) string {
	rec := view.Record()
	h := sha256.New()
	h.Write(rec.Body)
	h.Write([]byte{byte(len(view.Conflicts))})
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// remember keeps what a page shows, and returns its fingerprint.
func (t *typing) remember(view *client.View) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rememberLocked(view)
}

func (t *typing) rememberLocked(view *client.View) string {
	mark := fingerprint(view)
	key := view.ID.String() + mark
	if t.shown[key] == nil {
		t.order = append(t.order, key)
		if len(t.order) > mostShown {
			delete(t.shown, t.order[0])
			delete(t.own, t.order[0])
			t.order = t.order[1:]
		}
	}
	t.shown[key] = view.Record()
	return mark
}

// newest follows the app's own saves from what a page showed.
func (t *typing) newest(id, mark string) string {
	for range mostShown {
		next, ok := t.own[id+mark]
		if !ok {
			break
		}
		mark = next
	}
	return mark
}

// changed reports whether a record is no longer what a page shows, by somebody else's
// hand.
func (v *visit) changed(record, mark string) bool {
	if record == "tray" {
		now, err := v.trayPrint()
		return err == nil && now != mark
	}
	id, err := syncengine.ParseID(record)
	if err != nil || mark == "" {
		return false
	}
	view, err := v.dev.Get(v.ctx(), id)
	if err != nil {
		return false
	}
	t := &v.a.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest(record, mark) != fingerprint(view)
}

// draft returns the draft of a sheet, nil for none. The caller holds typing.mu.
func (a *App) draft(ctx context.Context, dev *client.Client, key string) (*draft, error) {
	if d, known := a.typing.open[key]; known {
		return d, nil
	}
	kept, err := dev.Draft(ctx, key)
	if err != nil {
		return nil, err
	}
	var d *draft
	if kept != nil {
		d = &draft{}
		if err := json.Unmarshal(kept.Body, d); err != nil {
			return nil, err
		}
	}
	a.typing.open[key] = d
	return d, nil
}

// typedIn returns what is typed in a sheet and no save yet, nil for nothing: on a page that
// has read the record, as of then.
func (v *visit) typedIn(kind, id string) (*draft, error) {
	key := draftKey(kind, id)
	if d, known := v.typed[key]; known {
		return d.clone(), nil
	}
	v.a.typing.mu.Lock()
	defer v.a.typing.mu.Unlock()
	d, err := v.a.draft(v.ctx(), v.dev, key)
	return d.clone(), err
}

func (d *draft) clone() *draft {
	if d == nil {
		return nil
	}
	c := *d
	c.Fields = map[string]*typed{}
	for name, f := range d.Fields {
		g := *f
		c.Fields[name] = &g
	}
	return &c
}

// keepTyping takes what a page's script sends while somebody types. It answers when that
// is on the disk. It works while the pages are hidden, for a page that was open.
func (v *visit) keepTyping() error {
	kind, id := v.r.PathValue("kind"), v.r.PathValue("id")
	rid, err := syncengine.ParseID(id)
	if err != nil || sheets[kind] == nil {
		return client.ErrNotFound
	}
	if err := v.r.ParseForm(); err != nil {
		return err
	}
	seen, err := v.keepFields(kind, id)
	if err != nil {
		return err
	}
	if view, err := v.dev.Get(v.ctx(), rid); err == nil && view.Kind != nil && view.Kind.Name == kind && slices.Contains(draftKinds, kind) && signed(view) {
		return v.keptLate(kind, id)
	}
	answer := map[string]any{"seen": seen}
	if kind == "form_response" {
		// Which questions are asked depends on the answers. Where that cannot be said, the
		// words are kept all the same, and the page is not to send them again.
		if off, result, err := v.asked(rid); err == nil {
			answer["off"], answer["result"] = off, result
		} else if !errors.Is(err, client.ErrLocked) {
			v.a.o.Log.Warn().Err(err).Msg("an answer is kept, and what it comes to is not known")
		}
	}
	if kind == "incident" && slices.ContainsFunc(v.r.Form["field"], func(name string) bool { return strings.HasPrefix(name, "location.") }) {
		// What is known of the address shows while it is typed.
		if place, err := v.placeShown(rid); err == nil {
			answer["place"] = place
		} else if !errors.Is(err, client.ErrLocked) && !errors.Is(err, client.ErrNotFound) {
			v.a.o.Log.Warn().Err(err).Msg("an address is kept, and what is known of it is not shown")
		}
	}
	return v.json(http.StatusOK, answer)
}

// keepFields puts the fields of a request into the draft of a sheet, and returns their
// versions.
func (v *visit) keepFields(kind, id string) (map[string]int, error) {
	t := &v.a.typing
	t.mu.Lock()
	defer t.mu.Unlock()
	key := draftKey(kind, id)
	d, err := v.a.draft(v.ctx(), v.dev, key)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = &draft{Kind: kind, Record: id, Fields: map[string]*typed{}}
		v.base(d, v.r.Form.Get("hash"))
		v.fixes(d)
	} else {
		d = d.clone()
	}
	d.of(v.r)
	seen := map[string]int{}
	for _, name := range v.r.Form["field"] {
		if !known(kind, name) {
			continue
		}
		n, _ := strconv.Atoi(v.r.Form.Get("seen." + name))
		d.put(name, v.entered(kind, name, v.r.Form["v."+name]), n)
		seen[name] = d.Fields[name].N
	}
	d.AtMS = v.a.o.Now().UnixMilli()
	return seen, v.a.keep(v.ctx(), v.dev, key, d)
}

// base notes the record that the page shows: with it the save will name what its author
// saw.
func (v *visit) base(d *draft, mark string) {
	t := &v.a.typing
	rec := t.shown[d.Record+t.newest(d.Record, mark)]
	if rec == nil {
		id, err := syncengine.ParseID(d.Record)
		if err != nil {
			return
		}
		view, err := v.dev.Get(v.ctx(), id)
		if err != nil {
			return
		}
		rec = view.Record()
	}
	d.Body, d.Stamps = rec.Body, rec.Stamps
}

// of notes what the record of a page is about.
func (d *draft) of(r *http.Request) {
	about := map[string]string{}
	for _, name := range []string{"person", "encounter", "target", "of", "for"} {
		about[name] = r.Form.Get(name)
	}
	// A field of that name is typing.
	about["basis"] = r.URL.Query().Get("basis")
	maps.DeleteFunc(about, func(_, value string) bool { return value == "" || len(value) > 64 })
	if len(about) > 0 {
		d.Of = about
	}
}

// put sets a field that a window has seen in version n.
func (d *draft) put(name string, values []string, n int) {
	f := d.Fields[name]
	if f == nil {
		// What was saved meanwhile goes on from there.
		d.Fields[name] = &typed{Values: values, N: n + 1}
		return
	}
	was := strings.Join(f.Values, ", ")
	now := strings.Join(values, ", ")
	if f.N > n && was != "" && !strings.HasPrefix(now, was) && long(was) && !slices.Contains(f.Others, was) {
		f.Others = append(f.Others, was)
	}
	f.Values, f.N = values, max(f.N, n)+1
}

// long reports whether words are worth keeping beside others: a chip is not.
func long(s string) bool { return strings.ContainsAny(s, " \n") || len(s) > 24 }

// keep writes a draft. The caller holds typing.mu.
func (a *App) keep(ctx context.Context, dev *client.Client, key string, d *draft) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	// Who closes the page does not end the save.
	if err := dev.SaveDraft(context.WithoutCancel(ctx), key, body); err != nil {
		return err
	}
	a.typing.open[key] = d
	return nil
}

// drop forgets a draft whose words are in a save. The caller holds typing.mu.
func (a *App) drop(ctx context.Context, dev *client.Client, key string) error {
	if err := dev.DropDraft(context.WithoutCancel(ctx), key); err != nil {
		return err
	}
	a.typing.open[key] = nil
	return nil
}

// settle turns the draft of a sheet into a save of its record. What the record does not
// take stays in the draft, with the reason.
func (a *App) settle(ctx context.Context, dev *client.Client, kind, id string) error {
	a.typing.mu.Lock()
	defer a.typing.mu.Unlock()
	return a.settleLocked(ctx, dev, kind, id)
}

func (a *App) settleLocked(ctx context.Context, dev *client.Client, kind, id string) error {
	key := draftKey(kind, id)
	d, err := a.draft(ctx, dev, key)
	if err != nil || d == nil {
		return err
	}
	rid, err := syncengine.ParseID(id)
	if err != nil {
		return nil //nolint:nilerr // A draft under no record's name stays where it is.
	}
	now, err := dev.Get(ctx, rid)
	if errors.Is(err, client.ErrNotFound) {
		// The record is made by a button.
		return nil
	}
	if err != nil {
		return err
	}
	if now.Kind == nil || now.Kind.Name != kind || signed(now) {
		// A signed record takes an amendment, which a person makes with a reason.
		return nil
	}
	view := now
	if d.Body != nil {
		if view, err = dev.Shown(&syncengine.Record{ID: rid, Kind: now.Kind.Number, Body: d.Body, Stamps: d.Stamps}); err != nil {
			return err
		}
	}
	left := d.clone()
	left.Stuck, left.Why = nil, ""
	taken := map[string]*typed{}
	maps.Copy(taken, d.Fields)
	set, err := a.setter(ctx, dev, view.Message)
	if err != nil {
		return err
	}
	for len(taken) > 0 {
		after := proto.Clone(view.Message)
		for name, f := range taken {
			if err := set(after, name, f.Values); err != nil {
				delete(taken, name)
				left.Stuck = append(left.Stuck, name)
			}
		}
		_, err = dev.Edit(context.WithoutCancel(ctx), func(e *client.Edit) error { return e.Set(view, after) })
		invalid, ok := errors.AsType[*client.InvalidError](err)
		if !ok {
			break
		}
		before := len(taken)
		for _, f := range invalid.Fields {
			_, field, _ := strings.Cut(f, "/")
			for name := range taken {
				if touches(name, field) {
					delete(taken, name)
					left.Stuck = append(left.Stuck, name)
				}
			}
		}
		if len(taken) == before {
			// It is the whole that is not taken.
			for name := range taken {
				left.Stuck = append(left.Stuck, name)
			}
			clear(taken)
		}
	}
	if err != nil {
		if _, ok := errors.AsType[*client.InvalidError](err); !ok {
			return err
		}
	}
	for name := range taken {
		if len(d.Fields[name].Others) == 0 {
			delete(left.Fields, name)
		} else {
			left.Stuck = append(left.Stuck, name)
		}
	}
	after, err := dev.Get(ctx, rid)
	if err != nil {
		return err
	}
	// Pages that showed what this save is made of, and nothing else, are up to date.
	if from, to := fingerprint(view), a.typing.rememberLocked(after); from == fingerprint(now) && from != to {
		a.typing.own[id+from] = to
	}
	if len(left.Fields) == 0 {
		return a.drop(ctx, dev, key)
	}
	slices.Sort(left.Stuck)
	left.Stuck = slices.Compact(left.Stuck)
	left.Body, left.Stamps = after.Record().Body, after.Record().Stamps
	return a.keep(ctx, dev, key, left)
}

// touches reports whether a field of a form is about a field of the contract.
func touches(name, field string) bool {
	first, _, _ := strings.Cut(contractField(name), ".")
	of, _, _ := strings.Cut(field, ".")
	return first == of
}

func signed(view *client.View) bool {
	return slices.Contains([]string{"signed", "amended", "locked", "void", "merged"}, view.Lifecycle)
}

// settleNow is what a page asks for when it is left.
func (v *visit) settleNow() error {
	if err := v.a.settle(v.ctx(), v.dev, v.r.PathValue("kind"), v.r.PathValue("id")); err != nil {
		return err
	}
	v.w.WriteHeader(http.StatusNoContent)
	return nil
}

// settleRested turns drafts into saves that nobody has touched for a while, those of an
// earlier run included.
func (a *App) settleRested(ctx context.Context, dev *client.Client) {
	a.typing.mu.Lock()
	defer a.typing.mu.Unlock()
	if !a.typing.read {
		a.typing.read = a.readDrafts(ctx, dev)
	}
	for key, d := range a.typing.open {
		if d == nil || len(d.Stuck) > 0 || a.o.Now().Sub(time.UnixMilli(d.AtMS)) < rest {
			continue
		}
		if err := a.settleLocked(ctx, dev, d.Kind, d.Record); err != nil && ctx.Err() == nil {
			a.o.Log.Warn().Err(err).Str("draft", key).Msg("a draft is no save yet")
		}
	}
}

// readDrafts takes the drafts of an earlier run into the view of this one.
func (a *App) readDrafts(ctx context.Context, dev *client.Client) bool {
	kept, err := dev.Drafts(ctx)
	if err != nil {
		return false
	}
	for _, k := range kept {
		if !strings.HasPrefix(k.Key, "sheet/") {
			continue
		}
		if _, err := a.draft(ctx, dev, k.Key); err != nil {
			a.o.Log.Warn().Err(err).Str("draft", k.Key).Msg("a draft cannot be read")
		}
	}
	return true
}
