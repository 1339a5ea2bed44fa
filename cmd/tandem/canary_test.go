package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// TestCanary plants words in every field of the clinical records that takes free
// text, and looks for them, byte by byte, in everything that the police partner's
// device ever got, keeps and prints. That the same search finds them on the other
// clinician's device, and the partner's own in his, shows that it could fail.
func TestCanary(t *testing.T) {
	t.Parallel()
	h, _ := newHome(t, homeOptions{})
	c := &canary{t: t, h: h, rng: rand.New(rand.NewPCG(11, 7))}
	maya, luis, dale := c.device("maya", h.clinician), c.device("luis", h.second), c.device("dale", h.officer)

	incident := c.create(maya, &tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(c.plant("notes_ops", true))})
	person := c.create(maya, &tandemv1.Person{
		Descriptor_: new(c.plant("descriptor", false)), DoNotContactReason: new(c.plant("do_not_contact_reason", false)),
		Address: new(c.plant("address", false)),
		Names:   []*tandemv1.PersonName{{Given: new(c.plant("given", false)), Family: new(c.plant("family", false))}},
	})
	encounter := c.create(maya, &tandemv1.Encounter{
		IncidentId: new(incident.String()), PersonId: new(person.String()), Narrative: new(c.plant("narrative", false)),
		DestinationText: new(c.plant("destination_text", false)),
	})
	c.create(maya, &tandemv1.Referral{
		PersonId: new(person.String()), EncounterId: new(encounter.String()), Need: new("crisis_bed"), Urgency: new("now"),
		State: new("offered"), TargetText: new(c.plant("target_text", false)), InfoShared: new("none"),
	})
	note := c.create(maya, &tandemv1.Note{
		Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(encounter.String())}, Type: new("case"), Text: new(c.plant("text", false)),
	})
	c.create(maya, &tandemv1.Note{
		Target: &tandemv1.RecordRef{Kind: new("incident"), Id: new(incident.String())}, Type: new("case"), Text: new(c.plant("text of a note on the call", false)),
	})
	c.sync(maya, dale, luis, dale)

	// Two versions of one person; the partner writes to the call meanwhile.
	for _, d := range []*canaryDevice{maya, luis} {
		c.change(d, person, func(e *client.Edit, v *client.View) error {
			as[*tandemv1.Person](t, v).Address = new(c.plant("address by "+d.name, false))
			return e.Set(v, v.Message)
		})
	}
	c.change(dale, incident, func(e *client.Edit, v *client.View) error {
		as[*tandemv1.Incident](t, v).LeInvolvement = new("partner_on_team")
		return e.Set(v, v.Message)
	})
	c.change(luis, incident, func(e *client.Edit, v *client.View) error {
		as[*tandemv1.Incident](t, v).NotesOps = new(c.plant("notes_ops by luis", true))
		return e.Set(v, v.Message)
	})
	c.sync(maya, luis, dale, maya, luis, dale)

	// Signed, amended, voided, with reasons; values that go out of sight.
	c.change(maya, note, func(e *client.Edit, v *client.View) error { return e.Sign(v, v.Message) })
	c.change(maya, note, func(e *client.Edit, v *client.View) error {
		as[*tandemv1.Note](t, v).Text = new(c.plant("text, amended", false))
		return e.Amend(v, v.Message, c.plant("reason of amending", false))
	})
	c.sync(maya, luis, dale)
	c.change(luis, person, func(e *client.Edit, v *client.View) error {
		as[*tandemv1.Person](t, v).Descriptor_ = new(c.plant("descriptor by luis", false))
		return e.Set(v, v.Message)
	})
	c.change(maya, note, func(e *client.Edit, v *client.View) error { return e.Void(v, c.plant("reason of voiding", false)) })
	c.sync(luis, maya, dale, luis)

	// News that arrive at once.
	c.live(maya, luis, dale)
	c.sync(luis, dale)

	// What another value has replaced need not be in a file any more; what a device
	// wrote itself does not come back to it.
	replaced := []string{"notes_ops", "descriptor", "address", "text"}
	own := []string{"notes_ops by luis", "descriptor by luis", "address by luis"}
	for _, d := range []*canaryDevice{luis, dale} {
		for _, m := range c.markers {
			want := d == luis || m.ops
			files, answers := d.inFiles(m), d.answers.has(m)
			if want && len(files) == 0 && !slices.Contains(replaced, m.field) {
				t.Errorf("%s is in no file of %s's device: the search would miss it", m.field, d.name)
			}
			if want && !answers && (d != luis || !slices.Contains(own, m.field)) {
				t.Errorf("%s is in no answer to %s's device: the search would miss it", m.field, d.name)
			}
			if !want && (len(files) > 0 || answers) {
				t.Errorf("%s has come to %s: files %v, answers %t", m.field, d.name, files, answers)
			}
		}
	}
	if dale.answers.count < 10 {
		t.Errorf("only %d answers of the partner's were looked at", dale.answers.count)
	}
	c.prints(dale)
}

// as is a view's message.
func as[M proto.Message](t *testing.T, v *client.View) M {
	t.Helper()
	m, ok := v.Message.(M)
	if !ok {
		t.Fatalf("%s is of another kind", v.ID)
	}
	return m
}

// canary is the world of TestCanary.
type canary struct {
	t       *testing.T
	h       *home
	rng     *rand.Rand
	markers []marker
}

// marker is a word that stands nowhere else.
type marker struct {
	field, text string
	// ops: the police partner may see it.
	ops bool
}

// in reports whether data holds a good part of the marker. A search index may keep
// words without their beginnings.
func (m marker) in(data []byte) bool {
	data = bytes.ToLower(data)
	return bytes.Contains(data, []byte(m.text[:12])) || bytes.Contains(data, []byte(m.text[12:]))
}

// plant makes a marker for a field.
func (c *canary) plant(field string, ops bool) string {
	var b strings.Builder
	for range 24 {
		b.WriteByte(byte('a' + c.rng.IntN(26)))
	}
	c.markers = append(c.markers, marker{field: field, text: b.String(), ops: ops})
	return b.String()
}

// canaryDevice is a device whose every answer is kept.
type canaryDevice struct {
	name, dir string
	dev       *client.Client
	answers   *answers
	changed   chan []syncengine.ID
}

func (c *canary) device(name string, staff syncengine.ID) *canaryDevice {
	c.t.Helper()
	d := &canaryDevice{name: name, dir: c.t.TempDir(), answers: &answers{base: &http.Transport{}}, changed: make(chan []syncengine.ID, 1000)}
	var err error
	d.dev, err = c.h.enrol(c.t.Context(), staff, name, d.dir, client.Options{
		Transport: d.answers, OnChange: func(ids []syncengine.ID) { d.changed <- ids },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { d.dev.Close() })
	c.sync(d)
	return d
}

func (c *canary) create(d *canaryDevice, msg proto.Message) (id syncengine.ID) {
	c.t.Helper()
	if _, err := d.dev.Edit(c.t.Context(), func(e *client.Edit) (err error) {
		id, err = e.Create(msg)
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *canary) change(d *canaryDevice, id syncengine.ID, do func(*client.Edit, *client.View) error) {
	c.t.Helper()
	v, err := d.dev.Get(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := d.dev.Edit(c.t.Context(), func(e *client.Edit) error { return do(e, v) }); err != nil {
		c.t.Fatal(err)
	}
}

func (c *canary) sync(devices ...*canaryDevice) {
	c.t.Helper()
	for _, d := range devices {
		m, err := d.dev.Sync(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		if m.NotAccepted > 0 {
			c.t.Fatalf("%d changes of %s were not accepted", m.NotAccepted, d.name)
		}
	}
}

// live lets two devices wait for news while the third writes.
func (c *canary) live(from *canaryDevice, to ...*canaryDevice) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	var running sync.WaitGroup
	for _, d := range to {
		for len(d.changed) > 0 {
			<-d.changed
		}
		running.Go(func() { _ = d.dev.Run(ctx) })
	}
	incident := c.create(from, &tandemv1.Incident{CallType: new("suicide_threat"), NotesOps: new(c.plant("notes_ops, live", true))})
	c.create(from, &tandemv1.Encounter{IncidentId: new(incident.String()), Narrative: new(c.plant("narrative, live", false))})
	c.sync(from)
	for _, d := range to {
		for seen := false; !seen; {
			for _, id := range <-d.changed {
				seen = seen || id == incident
			}
		}
	}
	stop()
	running.Wait()
}

// prints looks for markers in what the partner's commands print.
func (c *canary) prints(d *canaryDevice) {
	c.t.Helper()
	ctx := c.t.Context()
	for _, m := range c.markers {
		found, err := d.dev.Search(ctx, m.text, 10)
		if err != nil || len(found) > 0 {
			c.t.Errorf("a search for %s finds %d records, error %v", m.field, len(found), err)
		}
	}
	if err := d.dev.Close(); err != nil {
		c.t.Fatal(err)
	}
	var printed []byte
	for _, args := range []string{"status", "status --json", "verify", "verify --json", "sync --verbose", "sync --json"} {
		r := tandem(ctx, "", append(strings.Fields(args), "--store", d.dir)...)
		if r.code != exitOK {
			c.t.Errorf("%s: exit code %d: %s", args, r.code, r.err)
		}
		printed = append(printed, r.out+r.err...)
	}
	for _, m := range c.markers {
		if m.in(printed) {
			c.t.Errorf("%s is printed", m.field)
		}
		if !m.ops && len(d.inFiles(m)) > 0 {
			c.t.Errorf("%s has come to %s at last", m.field, d.name)
		}
	}
}

// inFiles names the files of the device that hold a marker: the database, its log,
// and whatever else is there.
func (d *canaryDevice) inFiles(m marker) (names []string) {
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if m.in(data) {
			names = append(names, entry.Name())
		}
		return nil
	})
	if err != nil {
		names = append(names, fmt.Sprintf("(unreadable: %v)", err))
	}
	return names
}

// answers is a transport that keeps every answer, as it was and unpacked.
type answers struct {
	base http.RoundTripper

	mu    sync.Mutex
	count int
	kept  bytes.Buffer
}

// RoundTrip implements http.RoundTripper.
func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err = closed(answer.Body, err); err != nil {
		return nil, err
	}
	plain := body
	switch packing := answer.Header.Get("Content-Encoding"); packing {
	case "":
	case "zstd":
		d, err := zstd.NewReader(nil)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		if plain, err = d.DecodeAll(body, nil); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("an answer is packed as %s, which this test cannot read", packing)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	fmt.Fprintln(&a.kept, answer.Header)
	a.kept.Write(body)
	a.kept.Write(plain)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

func closed(c io.Closer, err error) error {
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	return err
}

func (a *answers) has(m marker) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return m.in(a.kept.Bytes())
}
