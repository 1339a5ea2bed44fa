package console

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
)

// rank is a reason of the queue: what comes first is what cannot wait.
type rank struct {
	reason int
	key    string
	weight int
	// bad: it is shown as an alarm.
	bad bool
}

var ranks = []rank{
	{danger, "whyDanger", 100, true},
	{force, "whyForce", 90, true},
	{conflict, "whyConflict", 75, false},
	{alert, "whyAlert", 70, false},
	{flagged, "whyFlagged", 65, true},
	{episode, "whyEpisode", 55, false},
	{followUp, "whyFollowUp", 50, false},
	{returned, "whyReturned", 40, false},
	{draft, "whyDraft", 30, false},
	{twin, "whyTwin", 25, false},
	{unreviewed, "whyUnreviewed", 20, false},
}

// Bounds of the queue: so many rows are shown, so far is counted.
const (
	mostShown = 60
	mostCount = 1000
)

type queueData struct {
	Page    *web.Page
	Chips   []chip
	Rows    []row
	Why     string
	WhyWord string
	// Of names whose work it is, where it is of one person alone.
	Of string
	// Refused counts changes in quarantine. Behind: not all is worked out yet.
	Refused int
	Behind  bool
	More    bool
}

// chip is a reason with how many ask for it.
type chip struct {
	Key, Word, Href string
	Count           string
	On, Bad         bool
}

// row is a record of a list.
type row struct {
	Href, Title, Sub, When string
	Badges                 []badge
	due                    int64
}

type badge struct {
	Word string
	Bad  bool
}

// queue shows what asks for a lead, what cannot wait first.
func (v *visit) queue() error {
	d := &queueData{Page: v.page("navQueue", "queue"), Why: v.r.URL.Query().Get("why")}
	d.Page.Follow = "live"
	only := slices.IndexFunc(ranks, func(r rank) bool { return r.key == d.Why })
	if only >= 0 {
		d.WhyWord = v.t(d.Why)
	}
	var err error
	if d.Behind, err = v.c.workOut(v.ctx(), v.who.Org.ID, v.desks()); err != nil {
		return err
	}
	err = v.look("queue", syncengine.ID{}, func(s *sight) error {
		if d.Page.At, err = s.mark(); err != nil {
			return err
		}
		return s.queue(d, only)
	})
	if err != nil {
		return err
	}
	for i := range d.Page.Nav {
		if d.Page.Nav[i].Href == "quarantine" {
			d.Page.Nav[i].Count = d.Refused
		}
	}
	return v.show(200, "queue", d)
}

// desks are those that the person leads now.
func (v *visit) desks() (desks []syncengine.ScopeKey) {
	for _, k := range v.c.domain.Grants(v.who.Org.ID, v.who.Principal) {
		if desk, ok := deskOf(k); ok && k == desk {
			desks = append(desks, k)
		}
	}
	return desks
}

// wait is one record with all the reasons for which it asks.
type wait struct {
	id      syncengine.ID
	reasons []int
	weight  int
	due     int64
}

func (s *sight) queue(d *queueData, only int) error {
	now := s.now().UnixMilli()
	of, who, err := s.ofStaff()
	if err != nil {
		return err
	}
	d.Of = who
	found := map[syncengine.ID]*wait{}
	for i, r := range ranks {
		count := 0
		for _, desk := range s.desks {
			asks := store.Asks{Reason: r.reason, ByMS: now, Person: of}
			n, err := s.view.CountWork(desk, asks, mostCount)
			if err != nil {
				return err
			}
			count += n
			if only >= 0 && only != i || n == 0 {
				continue
			}
			work, err := s.view.Work(desk, asks, mostShown+1)
			if err != nil {
				return err
			}
			for _, w := range work {
				e := found[w.Record]
				if e == nil {
					e = &wait{id: w.Record, due: w.DueMS}
					found[w.Record] = e
				}
				e.weight, e.due = max(e.weight, r.weight), min(e.due, w.DueMS)
			}
		}
		if count > 0 {
			d.Chips = append(d.Chips, chip{Key: r.key, Word: s.t(r.key), Href: "queue?why=" + url.QueryEscape(r.key) + s.andStaff(of), Count: many(count), On: only == i, Bad: r.bad})
		}
	}
	list := make([]*wait, 0, len(found))
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *wait) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.due, b.due), a.id.Compare(b.id))
	})
	if d.More = len(list) > mostShown; d.More {
		list = list[:mostShown]
	}
	ids := make([]syncengine.ID, 0, len(list))
	for _, e := range list {
		ids = append(ids, e.id)
	}
	s.load(ids...)
	s.loadSubjects(ids)
	for _, e := range list {
		it := s.see(e.id)
		if it == nil {
			continue
		}
		r := s.row(it)
		for _, desk := range s.desks {
			work, err := s.view.WorkOf(desk, e.id)
			if err != nil {
				return err
			}
			for _, w := range work {
				if w.DueMS > now || slices.Contains(e.reasons, w.Reason) {
					continue
				}
				e.reasons = append(e.reasons, w.Reason)
			}
		}
		r.Badges = s.badges(it, e.reasons)
		d.Rows = append(d.Rows, r)
		s.show(it)
	}
	items, err := s.quarantineItems()
	d.Refused = len(items)
	return err
}

// badges are reasons in words, the gravest first.
func (s *sight) badges(it *item, reasons []int) (out []badge) {
	for _, r := range ranks {
		if !slices.Contains(reasons, r.reason) {
			continue
		}
		word := s.t(r.key)
		if m, ok := it.msg.(*tandemv1.Episode); ok && r.reason == episode {
			word = s.dayOf(it, m)
		}
		out = append(out, badge{Word: word, Bad: r.bad})
	}
	return out
}

// dayOf says on which day of its window an episode is.
func (s *sight) dayOf(it *item, m *tandemv1.Episode) string {
	created := int64(0)
	if o, err := it.rec.Origin(); err == nil {
		created = o.AtMS
	}
	opened := openedMS(m, created)
	return sprintf(s.t("dayOf"), (s.now().UnixMilli()-opened)/dayMS+1, (endsMS(m, created)-opened)/dayMS)
}

// loadSubjects looks at the people and staff that records name, at once.
func (s *sight) loadSubjects(ids []syncengine.ID) {
	var more []syncengine.ID
	for _, id := range ids {
		it := s.see(id)
		if it == nil {
			continue
		}
		more = append(more, s.c.domain.About(&it.rec.Record)...)
		if o, err := it.rec.Origin(); err == nil {
			more = append(more, o.Author)
		}
	}
	s.load(more...)
}

func many(n int) string {
	if n >= mostCount {
		return strconv.Itoa(mostCount-1) + "+"
	}
	return strconv.Itoa(n)
}

// ago says how long ago something was.
func (s *sight) ago(ms int64) string {
	d := s.now().Sub(time.UnixMilli(ms))
	switch {
	case d < 0:
		return web.Day(s.lang, s.at(ms)) + " " + s.at(ms).Format("15:04")
	case d < time.Hour:
		return sprintf(s.t("agoMinutes"), int(d.Minutes()))
	case d < 48*time.Hour:
		return sprintf(s.t("agoHours"), int(d.Hours()))
	}
	return sprintf(s.t("agoDays"), int(d.Hours()/24))
}
