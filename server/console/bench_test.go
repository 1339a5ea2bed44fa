package console_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/storetest"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

var (
	benchRecords  = flag.Int("console.records", 2000, "records behind the queue of BenchmarkQueue")
	benchSessions = flag.Int("console.sessions", 50, "pages that wait for news meanwhile")
)

// fill makes n records of the night team at the server: people, and visits of them that are
// drafts of two days ago, each tenth with high danger.
func (o *office) fill(n int) {
	o.tb.Helper()
	domain := record.New()
	engine := &syncengine.Server{Rules: domain, Secrets: o.org.Secrets}
	agency, program, team := o.clinic.String(), "", o.night.String()
	if err := o.st.Read(o.tb.Context(), o.org.ID, func(view syncengine.ServerView) error {
		rec, err := view.Record(o.night)
		if err == nil {
			program = rec.Text(syncengine.FieldProgram)
		}
		return err
	}); err != nil {
		o.tb.Fatal(err)
	}
	random := rand.Reader
	const group = 400
	for made := 0; made < n; {
		err := o.st.Write(o.tb.Context(), o.org.ID, group, func(tx *store.Tx) error {
			now := o.now().UnixMilli()
			batch, err := engine.Begin(tx, now)
			if err != nil {
				return err
			}
			p := &syncengine.Principal{Person: o.maya, Agency: o.clinic, Roles: []string{"clinician"}, Teams: []syncengine.ID{o.night}}
			for i := 0; i < group && made < n; i += 2 {
				var ids [3]syncengine.ID
				for k := range ids {
					if ids[k], err = syncengine.NewID(now, random); err != nil {
						return err
					}
				}
				who := person(fmt.Sprintf("Given%d", made), "Bench")
				who.AgencyId, who.ProgramId, who.TeamId, who.Lifecycle = &agency, &program, &team, new("active")
				if err := domain.EnsureElements(who, random); err != nil {
					return err
				}
				visit := o.visitOf(ids[2], ids[0], "A visit of the benchmark, with a few words in it, as visits have them.")
				visit.IncidentId = nil
				visit.Type = new("telehealth")
				visit.AgencyId, visit.ProgramId, visit.TeamId, visit.Lifecycle = &agency, &program, &team, new("draft")
				if made%20 == 0 {
					visit.DangerSelf = new("high")
				}
				change := &tandemv1.Change{Id: ids[2][:], Author: o.maya[:], Class: tandemv1.Class_CLASS_NORMAL, Schema: syncengine.Schema, Time: &tandemv1.ChangeTime{WallMs: now - 48*3600_000, OffsetKnown: true}}
				for k, msg := range []proto.Message{who, visit} {
					body, err := domain.Body(msg)
					if err != nil {
						return err
					}
					change.Records = append(change.Records, &tandemv1.RecordWrite{Record: ids[k][:], Kind: domain.KindOf(msg).Number, Act: tandemv1.Act_ACT_CREATE, Body: body})
				}
				raw, err := proto.Marshal(change)
				if err != nil {
					return err
				}
				out, err := batch.Local(p, raw)
				if err != nil {
					return err
				}
				if out.GetCode() != tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED {
					return fmt.Errorf("not applied: %v", out)
				}
				made += 2
			}
			_, err = batch.Commit()
			return err
		})
		if err != nil {
			o.tb.Fatal(err)
		}
	}
}

var mark = regexp.MustCompile(`"at":"([^"]*)"`)

// The time that the server takes for a lead's queue, with pages of others open that wait
// for news.
//
//	go test ./server/console -run '^$' -bench Queue -benchtime 200x -console.records 100000
func BenchmarkQueue(b *testing.B) {
	o := newOffice(b, storetest.SQLite)
	o.fill(*benchRecords)
	lena := o.signIn(o.lena, "lena.park")
	began := time.Now()
	for lena.get("/console/queue").text(); ; time.Sleep(100 * time.Millisecond) {
		if a := lena.get("/console/queue"); a.status == http.StatusOK && !strings.Contains(a.text(), "being sorted") {
			break
		}
	}
	b.Logf("%d records were worked out in %v", *benchRecords, time.Since(began).Round(time.Millisecond))
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for range *benchSessions {
		wg.Go(func() {
			at := "x"
			for ctx.Err() == nil {
				a, err := lena.send(ctx, http.MethodGet, "/console/live?at="+at, nil, func(r *http.Request) { r.Header.Set("Tandem-Follow", "1") })
				if err != nil {
					return
				}
				if m := mark.FindStringSubmatch(a.body); m != nil {
					at = m[1]
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	for b.Loop() {
		if a := lena.get("/console/queue"); a.status != http.StatusOK {
			b.Fatalf("%d: %s", a.status, a.text())
		}
	}
	cancel()
	wg.Wait()
}

// The time that the server takes for a lead's page of the team's load and weeks: half of the
// records are drafts that ask.
//
//	go test ./server/console -run '^$' -bench Team -benchtime 100x -console.records 100000
func BenchmarkTeam(b *testing.B) {
	o := newOffice(b, storetest.SQLite)
	o.fill(*benchRecords)
	lena := o.signIn(o.lena, "lena.park")
	for {
		if a := lena.get("/console/team"); a.status == http.StatusOK && !strings.Contains(a.text(), "being sorted") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for b.Loop() {
		if a := lena.get("/console/team"); a.status != http.StatusOK {
			b.Fatalf("%d: %s", a.status, a.text())
		}
	}
}
