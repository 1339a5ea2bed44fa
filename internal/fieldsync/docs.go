// Package fieldsync makes the synthetic encounters of the benchmark workload
// field-sync-1: documents of 1,142 bytes of JSON on average whose narratives compress
// as prose does. The same seed gives the same bytes, whatever the machine, and
// document i of a seed does not depend on how many are made. Nobody in them exists.
//
// The generator is frozen: its vocabulary and the order in which it draws random
// numbers decide the bytes, and so the figures that runs years apart compare.
package fieldsync

import (
	"encoding/json"
	"math"
	"math/rand" //nolint:depguard // The frozen bytes come from this generator; v2 draws others.
	"strconv"
	"strings"
	"time"
)

// Doc is one crisis encounter. The order of the fields is that of the JSON.
type Doc struct {
	ID            string   `json:"id"`
	Person        string   `json:"person"`
	DispatchedAt  string   `json:"dispatched_at"`
	ArrivedAt     string   `json:"arrived_at"`
	ClearedAt     string   `json:"cleared_at"`
	Lat           float64  `json:"lat"`
	Lon           float64  `json:"lon"`
	CallType      string   `json:"call_type"`
	Priority      int      `json:"priority"`
	Disposition   string   `json:"disposition"`
	Unit          string   `json:"unit"`
	Crew          []string `json:"crew"`
	Address       string   `json:"address"`
	Presenting    []string `json:"presenting"`
	Interventions []string `json:"interventions"`
	Referrals     []string `json:"referrals"`
	Narrative     string   `json:"narrative"`
}

const crock = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ulid builds a ULID from ms and 80 random bits.
func ulid(ms uint64, r *rand.Rand) string {
	var b [26]byte
	t := ms
	for i := 9; i >= 0; i-- {
		b[i] = crock[t&31]
		t >>= 5
	}
	for i := 10; i < 26; i++ {
		b[i] = crock[r.Intn(32)]
	}
	return string(b[:])
}

var callTypes = []string{"welfare_check", "suicidal_ideation", "psychosis", "intoxication", "domestic", "overdose", "grief", "panic", "youth_crisis", "shelter_need", "disorientation", "conflict"}
var dispositions = []string{"resolved_on_scene", "transported_voluntary", "transported_hold", "referred", "refused", "no_contact", "handed_to_ems", "handed_to_police", "safety_plan"}
var presenting = []string{"SI.PASSIVE", "SI.ACTIVE", "HI", "PSY.AH", "PSY.VH", "PSY.PARANOIA", "MOOD.LOW", "MOOD.ELEVATED", "ANX.PANIC", "SUB.ALCOHOL", "SUB.OPIOID", "SUB.STIM", "MED.NONADHERENT", "TRAUMA.RECENT", "HOUSING.NONE", "DEV.ASD", "COG.DEMENTIA", "GRIEF"}
var interventions = []string{"DEESC", "SAFETYPLAN", "MEANS.RESTRICT", "NALOXONE", "MED.SUPPORT", "PEER", "TRANSPORT", "WARM.HANDOFF", "FAMILY.CONTACT", "FOOD", "SHELTER.CALL", "TELEPSYCH", "ASSESS.CSSRS", "ASSESS.PHQ9"}
var referrals = []string{"CMHC.NORTH", "CMHC.SOUTH", "DETOX.1", "SHELTER.MAIN", "PCP", "SCHOOL", "988.FOLLOWUP", "CASEMGMT", "VA", "TRIBAL.HEALTH", "RESPITE", "NONE"}

// A Zipf-weighted vocabulary: function words first, then domain words, then a
// long tail of derived forms, so that zstd/gzip see text that compresses like prose.
var head = strings.Fields(`the and to of a he she was with in for her his on that at they is not had were by as from it said be who has this but or an their after when about been no then would team also have which are which asked client told person them there out up could before did called because into than only so very any while staff over him some one two home police mother still if again down will back more us what time last our night all he she where went until next feel unit just without other off being now day through take well left need most came like get around between may safe most able same away both each during`)
var domain = strings.Fields(`crisis reported responded arrived scene sidewalk apartment kitchen neighbor caller dispatcher officer medic clinician counselor sister brother father daughter partner roommate landlord manager supervisor shelter hospital clinic pharmacy station library school bus parking corner street avenue doorway stairwell porch hallway bedroom bathroom agitated calm tearful guarded pacing crying yelling quiet withdrawn oriented disoriented confused alert cooperative hostile fearful anxious hopeless angry exhausted hungry cold wet injured intoxicated sober sleeping awake medication sertraline lithium olanzapine buprenorphine naloxone insulin alcohol fentanyl methamphetamine cannabis dose refill prescription missed stopped taking restarted weeks months yesterday morning evening tonight voices shadows thoughts plan intent means access firearm locked knife rope pills bottle denied endorsed described stated agreed declined refused accepted offered provided reviewed completed contacted discussed encouraged explained listened validated planned followed referred transported escorted waited attempted placed scheduled confirmed appointment intake counselor followup caseworker benefits housing eviction rent job fired divorce custody court probation anniversary death funeral loss grief panic breathing grounding exercise water blanket food sandwich phone charger ride taxi van ambulance vitals pulse pressure glucose temperature wound bleeding bandage pain chest head withdrawal seizure history diagnosis schizophrenia bipolar depression anxiety dementia autism trauma veteran student teenager elderly pregnant infant children dog interpreter spanish lakota somali vietnamese signed consent release copy card number text message letter note supervisor briefed handoff warm respite detox bed available unavailable full closed opened risk low moderate high imminent acute chronic baseline protective factors support family church sponsor friend peer specialist`)

var crew, streets []string

var vocab []string
var cum []float64

func init() {
	suf := []string{"s", "ed", "ing", "ly", "ness", "er", "ment", "able", "ation", "less", "ful", "al", "ive", "ist", "ish", "ward"}
	pre := []string{"re", "un", "over", "dis", "pre", "mis", "out", "under"}
	vocab = append(vocab, head...)
	vocab = append(vocab, domain...)
	// The long tail: derived forms and syllabic stems (names, streets, drugs).
	r := rand.New(rand.NewSource(77)) //nolint:gosec // Test data, no secrets.
	on := strings.Fields("b br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sp st str t th tr v w wh y z")
	nu := strings.Fields("a e i o u ai ea ee ie oa ou")
	co := strings.Fields("b ck d ft g l ll m n nd ng nt p r rd rk rn s ss st t tch th v x")
	for range 5200 {
		var w string
		switch r.Intn(4) {
		case 0:
			w = domain[r.Intn(len(domain))] + suf[r.Intn(len(suf))]
		case 1:
			w = pre[r.Intn(len(pre))] + domain[r.Intn(len(domain))]
		default:
			w = on[r.Intn(len(on))] + nu[r.Intn(len(nu))] + co[r.Intn(len(co))]
			if r.Intn(3) > 0 {
				w += nu[r.Intn(len(nu))] + co[r.Intn(len(co))]
			}
			if r.Intn(3) == 0 {
				w = strings.ToUpper(w[:1]) + w[1:]
			} else if r.Intn(3) == 0 {
				w += suf[r.Intn(len(suf))]
			}
		}
		vocab = append(vocab, w)
	}
	for range 60 {
		crew = append(crew, ulid(uint64(1700000000000+r.Int63n(1<<34)), r))
	}
	for range 400 {
		w := domain[r.Intn(len(domain))]
		streets = append(streets, strings.ToUpper(w[:1])+w[1:]+[]string{" St", " Ave", " Rd", " Ln", " Blvd"}[r.Intn(5)])
	}
	s := 0.0
	for i := range vocab {
		s += 1 / math.Pow(float64(i)+2.7, 0.92)
		cum = append(cum, s)
	}
}

func word(r *rand.Rand) string {
	x := r.Float64() * cum[len(cum)-1]
	lo, hi := 0, len(cum)-1
	for lo < hi {
		m := (lo + hi) / 2
		if cum[m] < x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return vocab[lo]
}

func narrative(r *rand.Rand) string {
	n := 400 + r.Intn(401)
	var b strings.Builder
	for b.Len() < n-12 {
		k := 5 + r.Intn(14)
		for i := 0; i < k && b.Len() < n-12; i++ {
			w := word(r)
			if i == 0 {
				w = strings.ToUpper(w[:1]) + w[1:]
			} else {
				b.WriteByte(' ')
			}
			if r.Intn(40) == 0 {
				w = time.Unix(int64(r.Intn(86400)), 0).UTC().Format("15:04")
			}
			b.WriteString(w)
			if i > 2 && i < k-2 && r.Intn(9) == 0 {
				b.WriteByte(',')
			}
		}
		b.WriteString(". ")
	}
	s := strings.TrimSpace(b.String())
	for len(s) < 400 {
		s += " Noted."
	}
	return s
}

func pick(r *rand.Rand, from []string, lo, hi int) []string {
	n := lo + r.Intn(hi-lo+1)
	out := make([]string, 0, n)
	for _, i := range r.Perm(len(from))[:n] {
		out = append(out, from[i])
	}
	return out
}

// Gen returns document i of a seed.
func Gen(seed int64, i int) Doc {
	r := rand.New(rand.NewSource(seed*1_000_003 + int64(i)*7919 + 13)) //nolint:gosec // Test data, no secrets.
	base := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i)*7*time.Minute + time.Duration(r.Intn(420000))*time.Millisecond)
	arr := base.Add(time.Duration(3*60+r.Intn(40*60)) * time.Second)
	clr := arr.Add(time.Duration(10*60+r.Intn(150*60)) * time.Second)
	const f = "2006-01-02T15:04:05.000Z"
	return Doc{
		ID:            ulid(uint64(base.UnixMilli()), r),
		Person:        ulid(uint64(base.UnixMilli()-int64(r.Intn(1<<34))), r),
		DispatchedAt:  base.Format(f),
		ArrivedAt:     arr.Format(f),
		ClearedAt:     clr.Format(f),
		Lat:           math.Round((44.05+r.NormFloat64()*0.08)*1e6) / 1e6,
		Lon:           math.Round((-123.09+r.NormFloat64()*0.1)*1e6) / 1e6,
		CallType:      callTypes[r.Intn(len(callTypes))],
		Priority:      1 + r.Intn(4),
		Disposition:   dispositions[r.Intn(len(dispositions))],
		Unit:          "CRU-" + string(rune('A'+r.Intn(8))),
		Crew:          []string{crew[r.Intn(30)], crew[30+r.Intn(30)]},
		Address:       strconv.Itoa(100+r.Intn(9800)) + " " + streets[r.Intn(len(streets))],
		Presenting:    pick(r, presenting, 1, 4),
		Interventions: pick(r, interventions, 1, 4),
		Referrals:     pick(r, referrals, 0, 3),
		Narrative:     narrative(r),
	}
}

// JSON returns the document as its frozen checksum is taken over.
func JSON(d Doc) ([]byte, error) { return json.Marshal(d) }
