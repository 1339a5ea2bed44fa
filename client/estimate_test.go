package client

import (
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	c, _ := newEnrolled(t)
	estimate := func() Estimate {
		t.Helper()
		e, err := c.Estimate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := estimate(); len(e) != 0 || e.String() != "" {
		t.Errorf("nothing waits, got %q", e)
	}
	var person, encounter string
	if _, err := c.Edit(t.Context(), func(e *Edit) error {
		incident, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check")})
		if err != nil {
			return err
		}
		id, err := e.Create(&tandemv1.Person{Descriptor_: new("man, 40s")})
		if err != nil {
			return err
		}
		person = id.String()
		id, err = e.Create(&tandemv1.Encounter{IncidentId: new(incident.String()), PersonId: &person})
		encounter = id.String()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	alone := estimate()
	if len(alone) != 1 || alone[0].Class != tandemv1.Class_CLASS_NORMAL || alone[0].Saves != 1 || alone[0].Takes != 0 {
		t.Fatalf("got %+v", alone)
	}
	refer := func() {
		t.Helper()
		if _, err := c.Edit(t.Context(), func(e *Edit) error {
			e.Class(tandemv1.Class_CLASS_URGENT)
			_, err := e.Create(&tandemv1.Referral{
				PersonId: &person, EncounterId: &encounter, Need: new("crisis_bed"), Urgency: new("now"), State: new("offered"),
				TargetText: new("Living room"), InfoShared: new("none"),
			})
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	refer()
	create(t, c, &tandemv1.Incident{CallType: new("outreach")})
	if _, err := c.Bulk(t.Context(), func(b *Bulk) error {
		_, err := b.Edit(func(e *Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("outreach")})
			return err
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.pace.load([]byte(`{"rtt_ms":800,"up":2500,"down":2500,"ratio":0.6}`))
	c.mu.Unlock()
	e := estimate()
	if len(e) != 3 || e[0].Kinds["referral"] != 1 || e[1].Saves != 1 || e[2].Class != tandemv1.Class_CLASS_BULK {
		t.Fatalf("got %+v", e)
	}
	if e[0].Takes < 3*time.Second || e[0].Takes > 6*time.Second || e[1].Takes < e[0].Takes || e[2].Takes <= e[1].Takes {
		t.Errorf("it takes %v, %v, %v", e[0].Takes, e[1].Takes, e[2].Takes)
	}
	before := e[0].Bytes
	refer()
	if e := estimate(); e[0].Kinds["referral"] != 2 || e[0].Bytes <= before || e[0].Bytes > 2*before {
		t.Errorf("two of them: %+v, one weighed %d", e, before)
	}
}

func TestEstimateWords(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]Estimate{
		"": nil,
		"1 urgent referral, 1.6 KB, about 4 s": {
			{Class: tandemv1.Class_CLASS_URGENT, Saves: 1, Kinds: map[string]int{"referral": 1}, Bytes: 1600, Takes: 4 * time.Second},
		},
		"2 urgent saves (referral: 1, safety alert: 1), 12 KB; 1 other save, 1.0 KB; 300 imported saves, 2.4 MB": {
			{Class: tandemv1.Class_CLASS_URGENT, Saves: 2, Kinds: map[string]int{"referral": 1, "safety_alert": 1}, Bytes: 12_000},
			{Class: tandemv1.Class_CLASS_NORMAL, Saves: 1, Bytes: 1000},
			{Class: tandemv1.Class_CLASS_BULK, Saves: 300, Bytes: 2_400_000},
		},
		"40 saves, 80 KB, about 2 min; 9 imported saves, under 0.1 KB, about 3 h": {
			{Class: tandemv1.Class_CLASS_NORMAL, Saves: 40, Bytes: 80_000, Takes: 100 * time.Second},
			{Class: tandemv1.Class_CLASS_BULK, Saves: 9, Bytes: 9, Takes: 3 * time.Hour},
		},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
