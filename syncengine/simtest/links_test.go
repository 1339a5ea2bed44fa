package simtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// prose is text as people write it: it does not deflate to nothing.
func prose(src *rand.Rand, words int) string {
	const bank = `met him at the railing calm after twenty minutes agreed to step back and talk in the car says he has not slept
since Sunday left his medication at a friend's place no weapon seen two dogs tied outside mother called dispatch worried about
texts from last night he denies a plan today but had one in March safety plan reviewed together copy left with him sister will
stay until morning clinic opens at eight warm handoff to crisis line offered and accepted officer stood by at a distance no
force used wants help with housing letter from landlord on the table rent due Friday asked for a ride to the shelter on Fifth
street breathing fast at first then slower hands steady made eye contact laughed once about the dog ate half a sandwich agreed
to a follow up call on Thursday prefers texts number confirmed`
	known := strings.Fields(bank)
	var b strings.Builder
	for i := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(known[src.IntN(len(known))])
		if src.IntN(12) == 0 {
			fmt.Fprintf(&b, ". %d", src.IntN(2000))
		}
	}
	return b.String()
}

func instant(at time.Time) *tandemv1.Instant {
	return &tandemv1.Instant{AtMs: new(at.UnixMilli()), Origin: new("tap")}
}

// takeCase takes one case as a shift does: call, person, encounter and referral, two
// notes, the encounter signed and the call cleared. It returns the ids of what it made.
func takeCase(t *testing.T, c *client.Client, src *rand.Rand, n int) (made []syncengine.ID) {
	t.Helper()
	at := time.Now()
	call := save(t, c, func(e *client.Edit) error {
		incident, err := e.Create(&tandemv1.Incident{
			Number: new(fmt.Sprintf("C%02d-%04d", n, src.IntN(10000))), Source: new("dispatch_911"), CallType: new("suicide_threat"),
			ResponseMode: new("co_response"), PlaceType: new("street_public"), RiskLevel: new("high"),
			DispatchedAt: instant(at.Add(-40 * time.Minute)), ArrivedAt: instant(at.Add(-25 * time.Minute)), NotesOps: new(prose(src, 25)),
			Responders: []*tandemv1.Responder{{Name: new("Night team"), OnSceneRole: new("social_worker")}},
		})
		if err != nil {
			return err
		}
		person, err := e.Create(&tandemv1.Person{
			Names:       []*tandemv1.PersonName{{Given: new(prose(src, 1)), Family: new(prose(src, 1))}},
			Descriptor_: new(prose(src, 8)), Housing: new("unsheltered"),
		})
		if err != nil {
			return err
		}
		_, err = e.Create(&tandemv1.Encounter{
			IncidentId: new(incident.String()), PersonId: new(person.String()), Identity: new("partial"), Type: new("crisis_response"),
			StartedAt: instant(at.Add(-24 * time.Minute)), PresentingPrimary: new("suicidal_ideation"), Substance: new("alcohol"),
			DangerSelf: new("moderate"), DangerOthers: new("none"), CannotCareForSelf: new("no"),
			Interventions: []string{"deescalation", "safety_plan"}, LegalStatus: new("voluntary"), Narrative: new(prose(src, 150)),
		})
		return err
	})
	incident, person, encounter := call.Records[0], call.Records[1], call.Records[2]
	made = append(made, call.Records...)
	for _, words := range []int{30, 45} {
		note := save(t, c, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Note{
				Target: &tandemv1.RecordRef{Kind: new("encounter"), Id: new(encounter.String())}, Type: new("case"), Text: new(prose(src, words)),
			})
			return err
		})
		made = append(made, note.Records...)
	}
	made = append(made, refer(t, c, person, encounter, tandemv1.Class_CLASS_NORMAL))
	v := get(t, c, encounter)
	enc := message[*tandemv1.Encounter](t, v)
	enc.Disposition, enc.EndedAt, enc.FollowUpPlan = new("left_with_support"), instant(at), new("opened_episode")
	enc.CfEd, enc.CfArrest, enc.CfHold, enc.CfSource = new("yes"), new("no"), new("unknown"), new("clinician_judgment")
	save(t, c, func(e *client.Edit) error { return e.Set(v, enc) })
	v = get(t, c, incident)
	in := message[*tandemv1.Incident](t, v)
	in.ClearedAt, in.Contact, in.LeInvolvement = instant(at), new("contact_made"), new("none")
	save(t, c, func(e *client.Edit) error { return e.Close(v, in, "cleared") })
	return made
}

// refer offers a bed.
func refer(t *testing.T, c *client.Client, person, encounter syncengine.ID, class tandemv1.Class) syncengine.ID {
	t.Helper()
	saved := save(t, c, func(e *client.Edit) error {
		e.Class(class)
		_, err := e.Create(&tandemv1.Referral{
			PersonId: new(person.String()), EncounterId: new(encounter.String()), Need: new("crisis_bed"), Urgency: new("now"),
			State: new("offered"), TargetText: new("Crisis living room"), InfoShared: new("none"),
		})
		return err
	})
	return saved.Records[0]
}

// drive runs a device's loops until the function returned is called.
func drive(t *testing.T, c *client.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v", err)
		}
	}
}

func pending(t *testing.T, c *client.Client) int {
	t.Helper()
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Queued
}

// inFlight bounds what a cut costs, in bytes on their way up: what a request carries
// in its window at 9.6 kbit/s, a handshake and a question what has arrived.
const inFlight = 18 << 10

// A shift of 20 cases over 9.6 kbit/s with round trips of 2 s: with signal all the
// time, and with signal for 30 s of each minute.
func TestShiftOverABadLink(t *testing.T) {
	t.Parallel()
	carried := int64(0)
	for _, tc := range []struct {
		name        string
		flaps, told bool
		most        time.Duration
	}{
		{"signal all the time", false, true, 3 * time.Minute},
		{"signal half of the time", true, true, 8 * time.Minute},
		// How long that takes is a matter of chance.
		{"signal half of the time, and nothing says when", true, false, 3 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRadio(9600, 2*time.Second)
				v := newValley(t, r)
				c := v.car("ana")
				if _, err := c.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.set(false)
				src := rand.New(rand.NewPCG(9, 6))
				var made []syncengine.ID
				for n := range 20 {
					time.Sleep(20 * time.Minute)
					made = append(made, takeCase(t, c, src, n)...)
				}
				before, err := c.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				up0, down0 := r.carried()
				cuts0 := r.cuts
				stop := drive(t, c)
				began := time.Now()
				r.set(true)
				if tc.told {
					c.Wake()
				}
				for on, next := true, began.Add(30*time.Second); pending(t, c) > 0; {
					if time.Since(began) > tc.most {
						t.Fatalf("%d saves are left after %v", pending(t, c), tc.most)
					}
					time.Sleep(100 * time.Millisecond)
					if tc.flaps && !time.Now().Before(next) {
						on = !on
						r.set(on)
						next = next.Add(30 * time.Second)
						if on && tc.told {
							c.Wake()
						}
					}
				}
				took := time.Since(began)
				up1, down1 := r.carried()
				stop()
				for _, id := range made {
					if !v.has(id) {
						t.Errorf("the server lacks %s", id)
					}
				}
				if !tc.flaps {
					carried = up1 - up0
				}
				t.Logf("%d saves, %d bytes: %.1f virtual minutes, %d bytes up, %d down, %d cuts",
					before.Queued, before.QueuedBytes, took.Minutes(), up1-up0, down1-down0, r.cuts-cuts0)
				if extra := up1 - up0 - carried; extra > int64(r.cuts-cuts0)*inFlight {
					t.Errorf("%d cuts cost %d bytes: more than what was in flight", r.cuts-cuts0, extra)
				}
			})
		})
	}
}

// An urgent referral is at the server within 6 s of the signal's return, over 20
// kbit/s with round trips of 800 ms, whatever else waits to be sent: 7 where the first
// message of what waits was begun before it, which the machine decides.
func TestUrgentFirst(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(t *testing.T, c *client.Client, signal func()){
		"a sync that somebody starts": func(t *testing.T, c *client.Client, signal func()) {
			t.Helper()
			signal()
			if _, err := c.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"a device that has tried in vain for hours": func(t *testing.T, c *client.Client, signal func()) {
			t.Helper()
			stop := drive(t, c)
			defer stop()
			time.Sleep(3 * time.Hour)
			signal()
			c.Wake()
			for pending(t, c) > 0 {
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRadio(20_000, 800*time.Millisecond)
				v := newValley(t, r)
				c := v.car("ana")
				if _, err := c.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.set(false)
				time.Sleep(time.Hour)
				src := rand.New(rand.NewPCG(20, 8))
				n, err := c.Bulk(t.Context(), func(b *client.Bulk) error {
					for i := range 300 {
						_, err := b.Edit(func(e *client.Edit) error {
							_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), Lifecycle: new("locked"), NotesOps: new(prose(src, 60))},
								client.WithImport(&tandemv1.Import{Mapping: "calls", File: make([]byte, 32), Row: uint64(i + 2)}))
							return err
						})
						if err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil || n != 300 {
					t.Fatal(n, err)
				}
				made := takeCase(t, c, src, 1)
				referral := refer(t, c, made[1], made[2], tandemv1.Class_CLASS_URGENT)
				s, err := c.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var took time.Duration
				var sent int64
				watched := make(chan struct{})
				play(t, c, func() {
					began := time.Now()
					up0, _ := r.carried()
					r.set(true)
					go func() {
						defer close(watched)
						for !v.has(referral) && time.Since(began) < time.Minute {
							time.Sleep(20 * time.Millisecond)
						}
						up1, _ := r.carried()
						took, sent = time.Since(began), up1-up0
					}()
				})
				<-watched
				t.Logf("with %d saves (%d bytes) waiting: at the server %.2f virtual seconds after the signal, %d bytes up until then",
					s.Queued, s.QueuedBytes, took.Seconds(), sent)
				if took > 7*time.Second || took > 6*time.Second && sent < 7_000 {
					t.Errorf("it took %v and %d bytes, want at most 6 s, 7 behind another message", took, sent)
				}
				for _, id := range made {
					if !v.has(id) {
						t.Errorf("the server lacks %s", id)
					}
				}
			})
		})
	}
}

// A proxy that ends requests which wait too long: news still come, at once where it
// lets a request wait for a while, and soon where it does not; and the device does
// not ask for ever.
func TestLiveThroughAProxy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ends, most time.Duration
		requests   int
	}{
		"none":                        {time.Hour, 5 * time.Second, 100},
		"one that ends waits at 30 s": {30 * time.Second, 5 * time.Second, 220},
		"one that ends waits at 4 s":  {4 * time.Second, time.Minute, 260},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				r := newRadio(1e6, 100*time.Millisecond)
				v := newValley(t, r, func(inner http.Handler) http.Handler {
					proxy := http.TimeoutHandler(inner, tc.ends, "<h1>Gateway Timeout</h1>")
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						requests.Add(1)
						proxy.ServeHTTP(w, r)
					})
				})
				ana, ben := v.car("ana"), v.car("ben")
				syncAll(t, ana, ben)
				stop := drive(t, ben)
				defer stop()
				// It finds out what the proxy does.
				time.Sleep(5 * time.Minute)
				requests.Store(0)
				var longest time.Duration
				own := 0
				began := time.Now()
				for i := range 12 {
					time.Sleep(time.Duration(240+i*7) * time.Second)
					saved := save(t, ana, func(e *client.Edit) error {
						_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
						return err
					})
					moved, err := ana.Sync(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					// One more: the greeting.
					own += moved.Requests + 1
					at := time.Now()
					for {
						if _, err := ben.Get(t.Context(), saved.Records[0]); err == nil {
							break
						}
						if time.Sleep(50 * time.Millisecond); time.Since(at) > time.Hour {
							t.Fatal("it never came")
						}
					}
					longest = max(longest, time.Since(at))
				}
				asked := float64(int(requests.Load())-own) / time.Since(began).Hours()
				t.Logf("news after %.1f virtual seconds at most, %.0f requests an hour", longest.Seconds(), asked)
				if longest > tc.most {
					t.Errorf("news after %v, want at most %v", longest, tc.most)
				}
				if int(asked) > tc.requests {
					t.Errorf("%.0f requests an hour, want at most %d", asked, tc.requests)
				}
			})
		})
	}
}
