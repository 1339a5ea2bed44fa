package report

import (
	"encoding/binary"
	"testing"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
)

// survey is a state that holds the responses to one survey.
type survey struct {
	tb  testing.TB
	all []*syncengine.StoredRecord
}

func (s *survey) Each(kind uint32, f func(*syncengine.StoredRecord) error) error {
	for _, rec := range s.all {
		if rec.Kind == kind {
			if err := f(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *survey) add(msg proto.Message) syncengine.ID {
	s.tb.Helper()
	domain := record.New()
	body, err := domain.Body(msg)
	if err != nil {
		s.tb.Fatal(err)
	}
	var id syncengine.ID
	binary.BigEndian.PutUint64(id[8:], uint64(len(s.all)+1))
	s.all = append(s.all, &syncengine.StoredRecord{Record: syncengine.Record{ID: id, Kind: domain.KindOf(msg).Number, Body: body}, Plain: true})
	return id
}

// answered is a survey of two questions: all answer one of them, and some the other one.
func answered(tb testing.TB, all, some int, first, second string) *Outcomes {
	tb.Helper()
	s := &survey{tb: tb}
	program := s.add(&tandemv1.Program{Lifecycle: new("active")}).String()
	of := s.add(&tandemv1.Form{
		Lifecycle: new("published"), Code: new("experience"), Version: new(uint32(1)), Subject: new("community"),
		Definition: &tandemv1.FormDefinition{Items: []*tandemv1.FormItem{{LinkId: new("a"), Type: new("boolean")}, {LinkId: new("b"), Type: new("boolean")}}},
	}).String()
	for n := range all {
		answers := []*tandemv1.FormAnswer{form.Answer(first, form.Bool(n%2 == 0))}
		if n < some {
			answers = append(answers, form.Answer(second, form.Bool(n%3 == 0)))
		}
		s.add(&tandemv1.FormResponse{
			ProgramId: &program, Lifecycle: new("signed"), FormId: &of, Subject: new("community"), Respondent: new("anonymous"),
			AnsweredAt: &tandemv1.Instant{AtMs: new(int64(1_700_000_000_000))}, Answers: answers,
		})
	}
	r, err := ComputeOutcomes(s, OutcomeOptions{AsOf: time.UnixMilli(1_800_000_000_000)})
	if err != nil {
		tb.Fatal(err)
	}
	return r.ForPublic()
}

// asked is what is shown of a question.
func (r *Outcomes) asked(tb testing.TB, link string) Cell {
	tb.Helper()
	for _, m := range r.Metrics {
		for _, x := range m.Measures {
			if m.ID == "M24" && x.Key == "experience.1."+link {
				return x.All
			}
		}
	}
	tb.Fatalf("nothing is said of the question %s", link)
	return Cell{}
}

// TestFewWhoDidNotAnswer: of a survey that 50 people sent, 3 of whom left out a question,
// what is shown of one question and of another does not tell that it was three.
func TestFewWhoDidNotAnswer(t *testing.T) {
	t.Parallel()
	shown := func(f Figure, n int) count { return count{n: n, hide: f.Hidden} }
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		r := answered(t, 50, 47, order[0], order[1])
		every, most := r.asked(t, order[0]), r.asked(t, order[1])
		// The two that answered or left out the one question, and their sum, which is how many
		// answered the other one.
		g := &grid{k: r.K, cell: [][]count{{shown(most.Count, 47)}, {shown(most.Unknown, 3)}}, cols: []count{shown(every.Count, 50)}, all: shown(every.Count, 50)}
		if name := givenAway(t, g); name != "" {
			t.Errorf("%v: %s has one value alone: %+v", order, name, g)
		}
		if every.Count.N == nil && most.Count.N == nil {
			t.Errorf("%v: nothing is shown", order)
		}
	}
	// Where no few are to be hidden, everything is shown.
	r := answered(t, 50, 30, "a", "b")
	if a, b := r.asked(t, "a"), r.asked(t, "b"); a.Count.N == nil || b.Count.N == nil || b.Unknown.N == nil || len(b.Mix) != 2 {
		t.Errorf("20 of 50 left out a question: %+v, %+v", a, b)
	}
}
