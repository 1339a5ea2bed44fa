//nolint:misspell // Half of it is Spanish.
package report

import (
	"slices"
	"time"

	"github.com/tandem-response/tandem/syncengine/record"
)

// metric is one entry of the table: its words, and the rules that count it.
type metric struct {
	id                                                      string
	title, definition, numerator, denominator, unit, source Text
	measures                                                []measure
	// compared side by side by model, broken down for equity.
	compared, equity bool
}

// Text is words in English and Spanish.
type Text struct {
	EN string `json:"en"`
	ES string `json:"es"`
}

// In returns the words in a language.
func (t Text) In(lang string) string {
	if lang == "es" {
		return t.ES
	}
	return t.EN
}

func set(codes ...string) map[string]bool {
	m := map[string]bool{}
	for _, c := range codes {
		m[c] = true
	}
	return m
}

var (
	community = set("resolved_on_scene", "left_with_support", "transport_crisis_center", "transport_detox", "transport_shelter", "transport_other", "no_service_needed")
	gone      = set("refused_services", "left_scene", "deceased")
	emergency = set("transport_ed_voluntary", "transport_ed_involuntary", "transport_medical")
	hospital  = set("transport_ed_voluntary", "transport_ed_involuntary", "transport_psych_unit", "transport_medical")
	completed = set("no_longer_needs_support", "connected_to_care")
)

const (
	hourMS = int64(time.Hour / time.Millisecond)
	dayMS  = 24 * hourMS
)

// crisis wraps a rule on crisis responses in the period.
func crisis(rule func(e *encounterFact) verdict) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		if e := &b.encounters[i]; e.crisis() && e.place == inside {
			return rule(e)
		}
		return verdict{}
	}
}

// contacts wraps a rule on calls in the period on which somebody was met.
func contacts(rule func(b *book, in *incidentFact) verdict) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		if in := &b.incidents[i]; in.place == inside && in.contact == "contact_made" {
			return rule(b, in)
		}
		return verdict{}
	}
}

// what a code says: known and in a set.
func says(code string, codes map[string]bool) verdict {
	return verdict{in: true, unknown: !recorded(code), hit: codes[code]}
}

// yes judges an answer of yes, no or unknown.
func yes(answer string) verdict {
	return verdict{in: true, unknown: answer != "yes" && answer != "no", hit: answer == "yes"}
}

// averted judges the answer to "without this team, would it have been": only where
// somebody who was there said yes is anything averted. What nobody answered is unknown.
func averted(answer string, happened, known bool) verdict {
	switch {
	case answer == "no":
		return verdict{}
	case answer != "yes", !known:
		return verdict{in: true, unknown: true}
	}
	return verdict{in: true, hit: !happened}
}

func lasted(m minutes) verdict {
	return verdict{in: true, unknown: !m.known || m.value < 0, value: float64(m.value)}
}

// helped judges whether an encounter helped somebody.
func helped(e *encounterFact) (known, yes bool) {
	return recorded(e.disposition), e.disposition != "no_service_needed" && (e.disposition != "refused_services" || e.anything)
}

// whoHelped counts people who were helped; identified and unidentified say which.
func whoHelped(identified, unidentified bool, when func(*book, *encounterFact) bool) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		e := &b.encounters[i]
		if !e.counts() || !when(b, e) || e.person == none && !unidentified || e.person != none && !identified {
			return verdict{}
		}
		known, yes := helped(e)
		if known && !yes {
			return verdict{}
		}
		who := -int64(i) - 1
		if e.person != none {
			who = int64(e.person) + 1
		}
		return verdict{in: true, unknown: !known, hit: true, who: who}
	}
}

func inPeriod(_ *book, e *encounterFact) bool { return e.place == inside }

func inYear(b *book, e *encounterFact) bool { return e.dated && b.year.place(e.at) == inside }

// reached counts people who were reached by a follow-up and had no encounter.
func reached(b *book, i int32) verdict {
	f := &b.followUps[i]
	if f.state != "done" || f.outcome != "reached_person" || f.person == none || !f.dated || b.lies(&f.fact) != inside {
		return verdict{}
	}
	for _, e := range b.people[f.person].encounters {
		if b.encounters[e].place == inside {
			return verdict{}
		}
	}
	return verdict{in: true, hit: true, who: int64(f.person) + 1}
}

// police reports whether the police were there, as far as that is recorded.
func police(in *incidentFact) bool { return in.involvement != "none" && recorded(in.involvement) }

// force judges the calls with police there; lenient does not take handcuffs alone for it.
func force(lenient bool) func(*book, int32) verdict {
	return contacts(func(_ *book, in *incidentFact) verdict {
		if !police(in) {
			return verdict{}
		}
		v := yes(in.force)
		if lenient && v.hit && slices.Equal(in.forceTypes, []string{"handcuffs"}) {
			v.hit = false
		}
		return v
	})
}

// linked judges whether a first contact led to a service within some days.
func linked(days int64) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		f := &b.firsts[i]
		start := f.at.start.UnixMilli()
		if b.lies(&f.fact) != inside || f.at.date || start+days*dayMS > b.asOf {
			return verdict{}
		}
		zone := b.o.Zone
		first := f.at.start.In(zone).Format(time.DateOnly)
		last := time.UnixMilli(start + days*dayMS).In(zone).Format(time.DateOnly)
		p := &b.people[f.person]
		hit := slices.ContainsFunc(p.referrals, func(r int32) bool {
			on := b.referrals[r].connectedOn
			return on >= first && on <= last
		}) || slices.ContainsFunc(p.followUps, func(x int32) bool {
			u := &b.followUps[x]
			return u.service == "yes" && u.occurred >= start && u.occurred <= start+days*dayMS
		})
		return verdict{in: true, hit: hit}
	}
}

// sentIn wraps a rule on referrals that were first made in the period.
func sentIn(rule func(b *book, r *referralFact) verdict) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		if r := &b.referrals[i]; b.in(r.first) || r.first == 0 && b.inDays(r.connectedOn) {
			return rule(b, r)
		}
		return verdict{}
	}
}

func waited(from, to int64) verdict {
	return verdict{in: true, unknown: from == 0 || to == 0 || to < from, value: float64(to-from) / float64(dayMS)}
}

// followed judges whether an episode's person was reached within some hours of its opening.
func followed(hours int64, orCollateral bool) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		e := &b.episodes[i]
		until := e.opened + hours*hourMS
		if !b.in(e.opened) || until > b.asOf || e.reason == "deceased" ||
			e.person != none && (b.people[e.person].doNotContact || b.people[e.person].dead) {
			return verdict{}
		}
		return verdict{in: true, hit: slices.ContainsFunc(e.followUps, func(x int32) bool {
			f := &b.followUps[x]
			return (f.outcome == "reached_person" || orCollateral && f.outcome == "reached_collateral") && f.occurred != 0 && f.occurred <= until
		})}
	}
}

// ended wraps a rule on the episodes whose window ended in the period and has passed.
func ended(rule func(e *episodeFact) verdict) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		e := &b.episodes[i]
		if !b.inDays(e.windowEnd) || e.windowEnd >= b.o.AsOf.In(b.o.Zone).Format(time.DateOnly) || e.reason == "deceased" || e.reason == "moved" {
			return verdict{}
		}
		return rule(e)
	}
}

func finished(reasons map[string]bool) func(*book, int32) verdict {
	return ended(func(e *episodeFact) verdict {
		last := e.windowEnd
		if e.extendedTo != "" {
			last = e.extendedTo
		}
		return verdict{in: true, hit: e.state == "closed" && reasons[e.reason] && e.closedOn != "" && e.closedOn <= last}
	})
}

// laddered judges whether a planned follow-up was made when it was due.
func laddered(b *book, i int32) verdict {
	f := &b.followUps[i]
	tolerance := 72 * hourMS
	if f.program != none && f.target != 0 {
		if step := slices.Index(b.programs[f.program].ladder, f.target); step >= 0 && step < 2 {
			tolerance = 24 * hourMS
		}
	}
	if !b.in(f.due) || f.due+tolerance > b.asOf || f.state == "cancelled" || f.replaced {
		return verdict{}
	}
	return verdict{in: true, hit: f.state == "done" && f.occurred >= f.due-tolerance && f.occurred <= f.due+tolerance}
}

// again judges whether a person's crises came within some days of each other, looking back
// from those in the period.
func again(days int64) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		last, in, hit := int64(0), false, false
		for _, x := range b.people[i].encounters {
			e := &b.encounters[x]
			if !e.crisis() {
				continue
			}
			start := e.at.start.UnixMilli()
			if e.place == inside {
				in = true
				hit = hit || last != 0 && start-last <= days*dayMS
			}
			last = start
		}
		return verdict{in: in, hit: in && hit}
	}
}

// around sums a person's crises in the 90 days before or after an episode closed.
func around(after bool) func(*book, int32) verdict {
	return func(b *book, i int32) verdict {
		e := &b.episodes[i]
		if !b.in(e.closed) || e.closed+90*dayMS > b.asOf || e.person == none {
			return verdict{}
		}
		v := verdict{in: true}
		for _, x := range b.people[e.person].encounters {
			c := &b.encounters[x]
			start := c.at.start.UnixMilli()
			if c.crisis() && (after && start > e.closed && start <= e.closed+90*dayMS || !after && start <= e.closed && start > e.closed-90*dayMS) {
				v.value++
			}
		}
		return v
	}
}

func unmet(b *book, i int32) verdict {
	in := &b.incidents[i]
	if in.place != inside {
		return verdict{}
	}
	return says(in.contact, set("team_unavailable", "cancelled_enroute"))
}

// words of labels and units that come back.
var (
	perCall      = Text{"calls", "llamadas"}
	perContact   = Text{"calls with contact", "llamadas con contacto"}
	perPerson    = Text{"people", "personas"}
	perCrisis    = Text{"crisis responses", "respuestas a crisis"}
	perEncounter = Text{"encounters", "atenciones"}
	perEpisode   = Text{"episodes", "episodios"}
	perReferral  = Text{"referrals", "referencias"}
	perFollowUp  = Text{"follow-ups", "seguimientos"}
	inMinutes    = Text{"minutes", "minutos"}
	inDaysUnit   = Text{"days", "días"}
)

// metrics is the table: one entry a metric, in the order in which they are numbered.
var metrics = []metric{
	{
		id: "M1", equity: true,
		title:       Text{"People helped", "Personas atendidas"},
		definition:  Text{"How many different people got help: each identified person once, after duplicates were merged, and each encounter with somebody unidentified as one person.", "Cuántas personas distintas recibieron ayuda: cada persona identificada una vez, una vez unidos los duplicados, y cada atención a alguien sin identificar como una persona."},
		numerator:   Text{"Different people with a signed encounter that did not end with no service needed, nor with services refused and nothing done.", "Personas distintas con una atención firmada que no terminó sin necesidad de servicios, ni con servicios rechazados y nada hecho."},
		denominator: Text{"None: it is a count.", "Ninguno: es un recuento."},
		unit:        perPerson, source: Text{"encounters, people, follow-ups", "atenciones, personas, seguimientos"},
		measures: []measure{
			{key: "people", label: Text{"People helped in the period", "Personas atendidas en el período"}, unit: perPerson, shape: ShapeCount, base: ofEncounters, judge: whoHelped(true, true, inPeriod), published: true, perThousand: true, better: true},
			{key: "identified", label: Text{"of them identified", "de ellas, identificadas"}, unit: perPerson, shape: ShapeCount, base: ofEncounters, judge: whoHelped(true, false, inPeriod)},
			{key: "unidentified", label: Text{"of them unidentified", "de ellas, sin identificar"}, unit: perPerson, shape: ShapeCount, base: ofEncounters, judge: whoHelped(false, true, inPeriod)},
			{key: "year_to_date", label: Text{"People helped since the reporting year began", "Personas atendidas desde el inicio del año del informe"}, unit: perPerson, shape: ShapeCount, base: ofEncounters, judge: whoHelped(true, true, inYear)},
			{key: "by_follow_up", label: Text{"Others, reached by a follow-up alone", "Otras, contactadas solo en un seguimiento"}, unit: perPerson, shape: ShapeCount, base: ofFollowUps, judge: reached},
		},
	},
	{
		id: "M2", equity: true,
		title:       Text{"Calls and contact rate", "Llamadas y tasa de contacto"},
		definition:  Text{"How many calls there were, and on how many of those where the team arrived somebody was met.", "Cuántas llamadas hubo, y en cuántas de aquellas en que el equipo llegó se contactó con alguien."},
		numerator:   Text{"Calls on which the team arrived and met somebody.", "Llamadas en que el equipo llegó y contactó con alguien."},
		denominator: Text{"Calls on which the team arrived and whether it met somebody is recorded.", "Llamadas en que el equipo llegó y consta si contactó con alguien."},
		unit:        perCall, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "calls", label: Text{"Calls", "Llamadas"}, unit: perCall, shape: ShapeCount, base: ofIncidents, published: true, judge: func(b *book, i int32) verdict {
				return verdict{in: b.incidents[i].place == inside, hit: true}
			}},
			{key: "contacts", label: Text{"Calls with contact", "Llamadas con contacto"}, unit: perCall, shape: ShapeCount, base: ofIncidents, published: true, judge: contacts(func(*book, *incidentFact) verdict {
				return verdict{in: true, hit: true}
			})},
			{key: "contact_rate", label: Text{"Contact rate", "Tasa de contacto"}, unit: perCall, shape: ShapeRate, base: ofIncidents, better: true, published: true, judge: func(b *book, i int32) verdict {
				if in := &b.incidents[i]; in.place == inside && in.arrived {
					return says(in.contact, set("contact_made"))
				}
				return verdict{}
			}},
			{key: "by_type", label: Text{"Calls by type", "Llamadas por tipo"}, unit: perCall, shape: ShapeMix, base: ofIncidents, list: "call_type", published: true, judge: func(b *book, i int32) verdict {
				in := &b.incidents[i]
				return verdict{in: in.place == inside, unknown: !recorded(in.callType), codes: []string{in.callType}}
			}},
		},
	},
	{
		id: "M3", equity: true, compared: true,
		title:       Text{"Response time", "Tiempo de respuesta"},
		definition:  Text{"Minutes from being sent to arriving.", "Minutos desde el despacho hasta la llegada."},
		numerator:   Text{"Calls that took no more minutes than the program's target.", "Llamadas que no tardaron más minutos que la meta del programa."},
		denominator: Text{"Calls with both times, exact to the minute; times in the wrong order count as unknown.", "Llamadas con ambas horas, exactas al minuto; las horas en orden inverso cuentan como desconocidas."},
		unit:        inMinutes, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "minutes", label: Text{"Minutes to arrive", "Minutos hasta llegar"}, unit: inMinutes, shape: ShapeTime, base: ofIncidents, published: true, judge: func(b *book, i int32) verdict {
				in := &b.incidents[i]
				if in.place != inside || !in.arrived {
					return verdict{}
				}
				return lasted(in.response)
			}},
			{key: "within_target", label: Text{"Within the target", "Dentro de la meta"}, unit: perCall, shape: ShapeRate, base: ofIncidents, better: true, published: true, judge: func(b *book, i int32) verdict {
				in := &b.incidents[i]
				if in.place != inside || !in.arrived {
					return verdict{}
				}
				target := 60
				if in.program != none {
					target = b.programs[in.program].target
				}
				v := lasted(in.response)
				v.hit = !v.unknown && v.value <= float64(target)
				return v
			}},
		},
	},
	{
		id: "M4", equity: true, compared: true,
		title:       Text{"Time on scene", "Tiempo en el lugar"},
		definition:  Text{"Minutes from arriving to being free again, on calls with contact.", "Minutos desde la llegada hasta quedar libre, en llamadas con contacto."},
		numerator:   Text{"Minutes from arrival to the end; for officers, minutes from their end to the team's.", "Minutos desde la llegada hasta el final; para los agentes, minutos desde su final hasta el del equipo."},
		denominator: Text{"Calls with contact and both times.", "Llamadas con contacto y ambas horas."},
		unit:        inMinutes, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "minutes", label: Text{"Minutes on scene", "Minutos en el lugar"}, unit: inMinutes, shape: ShapeTime, base: ofIncidents, dims: []string{byMode}, published: true, judge: contacts(func(_ *book, in *incidentFact) verdict {
				return lasted(in.onScene)
			})},
			{key: "officer_minutes", label: Text{"Officer minutes freed: the team stayed after officers had left", "Minutos de agentes liberados: el equipo siguió cuando ya se habían ido"}, unit: inMinutes, shape: ShapeTotal, base: ofIncidents, judge: contacts(func(_ *book, in *incidentFact) verdict {
				return verdict{in: in.officerFree.known, value: float64(in.officerFree.value)}
			})},
		},
	},
	{
		id: "M5", equity: true, compared: true,
		title:       Text{"Resolved in the community", "Resuelto en la comunidad"},
		definition:  Text{"Crisis responses that ended without hospital, arrest or hand-over.", "Respuestas a crisis que terminaron sin hospital, detención ni traspaso."},
		numerator:   Text{"Ended on scene, with support, at a crisis center, detox, shelter or another place of the community, or with no service needed.", "Terminaron en el lugar, con apoyo, en un centro de crisis, de desintoxicación, un refugio u otro lugar de la comunidad, o sin necesidad de servicios."},
		denominator: Text{"Signed crisis responses with a recorded outcome, less those where the person refused, left or had died.", "Respuestas a crisis firmadas con resultado registrado, menos aquellas en que la persona rechazó, se fue o había fallecido."},
		unit:        perCrisis, source: Text{"encounters", "atenciones"},
		measures: []measure{
			{key: "resolved", label: Text{"Resolved in the community", "Resuelto en la comunidad"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, better: true, published: true, judge: crisis(func(e *encounterFact) verdict {
				if gone[e.disposition] {
					return verdict{}
				}
				return says(e.disposition, community)
			})},
		},
	},
	{
		id: "M6", equity: true, compared: true,
		title:       Text{"Police involvement", "Participación policial"},
		definition:  Text{"How often a team without an officer called for the police, and how often officers who came were trained in crisis intervention (CIT).", "Con qué frecuencia un equipo sin agente llamó a la policía, y con qué frecuencia los agentes presentes tenían formación en crisis (CIT)."},
		numerator:   Text{"Calls with contact where the team asked for police or backup was called; calls with a CIT-trained officer.", "Llamadas con contacto en que el equipo pidió a la policía o se llamó a refuerzos; llamadas con un agente con formación CIT."},
		denominator: Text{"Calls with contact of mobile crisis and community responder programs with a record of police involvement; calls with contact and an officer.", "Llamadas con contacto de programas móviles de crisis y de respuesta comunitaria con registro de participación policial; llamadas con contacto y un agente."},
		unit:        perContact, source: Text{"incidents, programs", "incidentes, programas"},
		measures: []measure{
			{key: "police_called", label: Text{"Police called by the team", "Policía llamada por el equipo"}, unit: perContact, shape: ShapeRate, base: ofIncidents, published: true, judge: contacts(func(b *book, in *incidentFact) verdict {
				if in.program == none || !set("mct", "community_responder")[b.programs[in.program].model] {
					return verdict{}
				}
				return says(in.involvement, set("requested_by_team", "backup_called"))
			})},
			{key: "cit", label: Text{"With a CIT-trained officer", "Con un agente con formación CIT"}, unit: perContact, shape: ShapeRate, base: ofIncidents, better: true, published: true, judge: contacts(func(_ *book, in *incidentFact) verdict {
				return verdict{in: in.officer, unknown: !in.trainingKnown, hit: in.trained}
			})},
		},
	},
	{
		id: "M7", equity: true, compared: true,
		title:       Text{"Emergency department transports", "Traslados a urgencias"},
		definition:  Text{"Crisis responses that ended with a transport to an emergency department.", "Respuestas a crisis que terminaron con traslado a urgencias."},
		numerator:   Text{"Ended with a voluntary, involuntary or medical transport to an emergency department; the second figure leaves medical ones out.", "Terminaron con traslado voluntario, involuntario o médico a urgencias; la segunda cifra omite los médicos."},
		denominator: Text{"Signed crisis responses with a recorded outcome.", "Respuestas a crisis firmadas con resultado registrado."},
		unit:        perCrisis, source: Text{"encounters", "atenciones"},
		measures: []measure{
			{key: "transported", label: Text{"Transported to an emergency department", "Trasladados a urgencias"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				return says(e.disposition, emergency)
			})},
			{key: "behavioral", label: Text{"without medical transports", "sin traslados médicos"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, judge: crisis(func(e *encounterFact) verdict {
				v := says(e.disposition, emergency)
				v.hit = v.hit && e.disposition != "transport_medical"
				return v
			})},
		},
	},
	{
		id: "M8", equity: true, compared: true,
		title:       Text{"Emergency department transports averted", "Traslados a urgencias evitados"},
		definition:  Text{"Of the crises where somebody who was there said that without the team it would have been the emergency department, those where it was not. Nothing is inferred from how calls ended: where nobody was asked, nothing is claimed.", "De las crisis en que alguien presente dijo que sin el equipo habría sido urgencias, aquellas en que no lo fue. Nada se deduce de cómo terminaron las llamadas: donde no se preguntó, nada se afirma."},
		numerator:   Text{"Answered yes, and the crisis did not end at an emergency department.", "Se respondió que sí, y la crisis no terminó en urgencias."},
		denominator: Text{"Signed crisis responses where the question was answered yes. Answers of unknown, and none, are the unknown share.", "Respuestas a crisis firmadas en que se respondió que sí. Las respuestas desconocidas o ausentes son la parte desconocida."},
		unit:        perCrisis, source: Text{"encounters (what the officer, the clinician or dispatch said)", "atenciones (lo que dijo el agente, el clínico o el despacho)"},
		measures: []measure{
			{key: "averted", label: Text{"Averted, of those expected", "Evitados, de los previstos"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				return averted(e.cfED, emergency[e.disposition], recorded(e.disposition))
			})},
			{key: "by_source", label: Text{"Who said so", "Quién lo dijo"}, unit: perCrisis, shape: ShapeMix, base: ofEncounters, list: "cf_source", published: true, judge: crisis(func(e *encounterFact) verdict {
				return verdict{in: e.cfED == "yes" && recorded(e.disposition) && !emergency[e.disposition], unknown: !recorded(e.cfSource), codes: []string{e.cfSource}}
			})},
		},
	},
	{
		id: "M9", equity: true, compared: true,
		title:       Text{"Arrests, and arrests averted", "Detenciones y detenciones evitadas"},
		definition:  Text{"Crisis responses that ended in arrest; and, where somebody who was there said that it would have been an arrest, those where it was none.", "Respuestas a crisis que terminaron en detención; y, donde alguien presente dijo que habría sido una detención, aquellas en que no la hubo."},
		numerator:   Text{"Ended in arrest or custody; answered yes and did not end so.", "Terminaron en detención o custodia; se respondió que sí y no terminaron así."},
		denominator: Text{"Signed crisis responses with a recorded outcome; those where the question was answered yes.", "Respuestas a crisis firmadas con resultado registrado; aquellas en que se respondió que sí."},
		unit:        perCrisis, source: Text{"encounters (what the officer, the clinician or dispatch said)", "atenciones (lo que dijo el agente, el clínico o el despacho)"},
		measures: []measure{
			{key: "arrested", label: Text{"Ended in arrest", "Terminaron en detención"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				return says(e.disposition, set("arrest_custody"))
			})},
			{key: "averted", label: Text{"Averted, of those expected", "Evitadas, de las previstas"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				return averted(e.cfArrest, e.disposition == "arrest_custody", recorded(e.disposition))
			})},
		},
	},
	{
		id: "M10", equity: true, compared: true,
		title:       Text{"Involuntary holds", "Retenciones involuntarias"},
		definition:  Text{"Crisis responses that were not voluntary; and, where somebody who was there said that it would have been a hold, those where it was none.", "Respuestas a crisis que no fueron voluntarias; y, donde alguien presente dijo que habría sido una retención, aquellas en que no la hubo."},
		numerator:   Text{"Legal status other than voluntary; answered yes and voluntary.", "Situación legal distinta de voluntaria; se respondió que sí y fue voluntaria."},
		denominator: Text{"Signed crisis responses with a recorded legal status; those where the question was answered yes.", "Respuestas a crisis firmadas con situación legal registrada; aquellas en que se respondió que sí."},
		unit:        perCrisis, source: Text{"encounters (what the officer, the clinician or dispatch said)", "atenciones (lo que dijo el agente, el clínico o el despacho)"},
		measures: []measure{
			{key: "held", label: Text{"Involuntary", "Involuntarias"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				v := says(e.legal, nil)
				v.hit = !v.unknown && e.legal != "voluntary"
				return v
			})},
			{key: "averted", label: Text{"Averted, of those expected", "Evitadas, de las previstas"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, published: true, judge: crisis(func(e *encounterFact) verdict {
				return averted(e.cfHold, e.legal != "voluntary", recorded(e.legal))
			})},
		},
	},
	{
		id: "M11", equity: true, compared: true,
		title:       Text{"Use of force", "Uso de la fuerza"},
		definition:  Text{"Calls with contact and police there on which force was used on anybody.", "Llamadas con contacto y policía presente en que se usó la fuerza con alguien."},
		numerator:   Text{"Force was used; the second figure leaves calls with handcuffs alone out.", "Se usó la fuerza; la segunda cifra omite las llamadas solo con esposas."},
		denominator: Text{"Calls with contact and police there for which yes or no is recorded. Unknown is the unknown share.", "Llamadas con contacto y policía presente en que consta sí o no. Lo desconocido es la parte desconocida."},
		unit:        perContact, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "force", label: Text{"Force used", "Se usó la fuerza"}, unit: perContact, shape: ShapeRate, base: ofIncidents, published: true, judge: force(false)},
			{key: "more_than_handcuffs", label: Text{"more than handcuffs alone", "más que solo esposas"}, unit: perContact, shape: ShapeRate, base: ofIncidents, judge: force(true)},
			{key: "by_type", label: Text{"Types of force (a call may have several)", "Tipos de fuerza (una llamada puede tener varios)"}, unit: perContact, shape: ShapeMix, base: ofIncidents, list: "force_type", judge: contacts(func(_ *book, in *incidentFact) verdict {
				return verdict{in: police(in) && in.force == "yes", unknown: len(in.forceTypes) == 0, codes: in.forceTypes}
			})},
		},
	},
	{
		id: "M12", equity: true, compared: true,
		title:       Text{"Injuries", "Lesiones"},
		definition:  Text{"Calls with contact on which anybody was hurt.", "Llamadas con contacto en que alguien resultó herido."},
		numerator:   Text{"Calls with an injury on record.", "Llamadas con una lesión registrada."},
		denominator: Text{"Calls with contact.", "Llamadas con contacto."},
		unit:        perContact, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "injured", label: Text{"With an injury", "Con una lesión"}, unit: perContact, shape: ShapeRate, base: ofIncidents, published: true, judge: contacts(func(_ *book, in *incidentFact) verdict {
				return verdict{in: true, hit: len(in.parties) > 0}
			})},
			{key: "by_party", label: Text{"Injuries by who was hurt", "Lesiones según quién resultó herido"}, unit: Text{"injuries", "lesiones"}, shape: ShapeMix, base: ofIncidents, list: "injury_party", judge: contacts(func(_ *book, in *incidentFact) verdict {
				return verdict{in: len(in.parties) > 0, codes: in.parties}
			})},
		},
	},
	{
		id: "M13", equity: true, compared: true,
		title:       Text{"Linked to a service after the first contact", "Vinculación a un servicio tras el primer contacto"},
		definition:  Text{"People whose first encounter with the program was in the period, who then received a service.", "Personas cuya primera atención en el programa fue en el período y que luego recibieron un servicio."},
		numerator:   Text{"A referral connected, or a follow-up where the person said to have used a service, within 30 (60) days.", "Una referencia conectada, o un seguimiento en que la persona dijo haber usado un servicio, en 30 (60) días."},
		denominator: Text{"First contacts whose 30 (60) days have passed; a person counts once a program.", "Primeros contactos cuyos 30 (60) días han pasado; una persona cuenta una vez por programa."},
		unit:        perPerson, source: Text{"encounters, referrals, follow-ups", "atenciones, referencias, seguimientos"},
		measures: []measure{
			{key: "within_30_days", label: Text{"Linked within 30 days", "Vinculadas en 30 días"}, unit: perPerson, shape: ShapeRate, base: ofFirsts, better: true, published: true, judge: linked(30)},
			{key: "within_60_days", label: Text{"Linked within 60 days", "Vinculadas en 60 días"}, unit: perPerson, shape: ShapeRate, base: ofFirsts, better: true, judge: linked(60)},
		},
	},
	{
		id: "M14", equity: true, compared: true,
		title:       Text{"Referrals that reached their end", "Referencias que llegaron a su fin"},
		definition:  Text{"Whether referrals made in the period led to the person receiving the service.", "Si las referencias hechas en el período llevaron a que la persona recibiera el servicio."},
		numerator:   Text{"Closed as connected.", "Cerradas como conectadas."},
		denominator: Text{"Referrals first made in the period that are closed, or open for more than 30 days.", "Referencias hechas en el período que están cerradas, o abiertas desde hace más de 30 días."},
		unit:        perReferral, source: Text{"referrals", "referencias"},
		measures: []measure{
			{key: "connected", label: Text{"Connected", "Conectadas"}, unit: perReferral, shape: ShapeRate, base: ofReferrals, better: true, published: true, judge: sentIn(func(b *book, r *referralFact) verdict {
				closed := r.state == "closed"
				return verdict{in: closed || r.first != 0 && r.first+30*dayMS < b.asOf, unknown: closed && !recorded(r.outcome), hit: closed && r.outcome == "connected"}
			})},
			{key: "declined", label: Text{"Declined by the person, of those closed", "Rechazadas por la persona, de las cerradas"}, unit: perReferral, shape: ShapeRate, base: ofReferrals, judge: sentIn(func(_ *book, r *referralFact) verdict {
				return verdict{in: r.state == "closed", unknown: !recorded(r.outcome), hit: r.outcome == "declined_by_person"}
			})},
			{key: "days_to_accepted", label: Text{"Days from sent to accepted", "Días desde el envío hasta la aceptación"}, unit: inDaysUnit, shape: ShapeTime, base: ofReferrals, published: true, judge: sentIn(func(_ *book, r *referralFact) verdict {
				v := waited(r.sent, r.accepted)
				v.in = r.accepted != 0
				return v
			})},
			{key: "days_to_connected", label: Text{"Days from sent to connected", "Días desde el envío hasta la conexión"}, unit: inDaysUnit, shape: ShapeTime, base: ofReferrals, published: true, judge: sentIn(func(b *book, r *referralFact) verdict {
				on, err := time.ParseInLocation(time.DateOnly, r.connectedOn, b.o.Zone)
				if r.state != "closed" || r.outcome != "connected" {
					return verdict{}
				}
				if err != nil || r.sent == 0 {
					return verdict{in: true, unknown: true}
				}
				y, m, d := time.UnixMilli(r.sent).In(b.o.Zone).Date()
				days := float64(day(on.Year(), on.Month(), on.Day()).Sub(day(y, m, d)) / (24 * time.Hour))
				return verdict{in: true, unknown: days < 0, value: days}
			})},
			{key: "outcomes", label: Text{"How closed ones ended", "Cómo terminaron las cerradas"}, unit: perReferral, shape: ShapeMix, base: ofReferrals, list: "referral_outcome", published: true, judge: sentIn(func(_ *book, r *referralFact) verdict {
				return verdict{in: r.state == "closed", unknown: !recorded(r.outcome), codes: []string{r.outcome}}
			})},
			{key: "unresolved", label: Text{"Open for more than 14 days", "Abiertas desde hace más de 14 días"}, unit: perReferral, shape: ShapeCount, base: ofReferrals, judge: sentIn(func(b *book, r *referralFact) verdict {
				return verdict{in: r.state != "closed" && r.first != 0 && r.first+14*dayMS < b.asOf, hit: true}
			})},
		},
	},
	{
		id: "M15", equity: true, compared: true,
		title:       Text{"Reached after an episode was opened", "Contacto tras abrir el episodio"},
		definition:  Text{"How soon people were reached once the team had taken them on.", "Con qué rapidez se contactó a las personas una vez que el equipo las tomó a su cargo."},
		numerator:   Text{"The person was reached by a follow-up within 24 hours, 72 hours or 7 days of the opening.", "Se contactó a la persona en un seguimiento dentro de 24 horas, 72 horas o 7 días desde la apertura."},
		denominator: Text{"Episodes opened in the period whose hours have passed, less people who must not be contacted or have died.", "Episodios abiertos en el período cuyas horas han pasado, menos las personas que no deben ser contactadas o han fallecido."},
		unit:        perEpisode, source: Text{"episodes, follow-ups, people", "episodios, seguimientos, personas"},
		measures: []measure{
			{key: "within_24_hours", label: Text{"Reached within 24 hours", "Contactadas en 24 horas"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, judge: followed(24, false)},
			{key: "within_72_hours", label: Text{"Reached within 72 hours", "Contactadas en 72 horas"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, published: true, judge: followed(72, false)},
			{key: "within_7_days", label: Text{"Reached within 7 days", "Contactadas en 7 días"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, judge: followed(168, false)},
			{key: "within_72_hours_or_collateral", label: Text{"They or somebody close reached within 72 hours", "Contactadas ellas o alguien cercano en 72 horas"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, judge: followed(72, true)},
		},
	},
	{
		id: "M16", equity: true, compared: true,
		title:       Text{"Completion of the window", "Cumplimiento de la ventana"},
		definition:  Text{"Episodes whose window (60 days unless the program has another) ended in the period, and that were closed by then because the person no longer needs the team or is connected to care.", "Episodios cuya ventana (60 días salvo que el programa tenga otra) terminó en el período y que para entonces se cerraron porque la persona ya no necesita al equipo o está conectada con la atención."},
		numerator:   Text{"Closed by the last day of the window, or of its extension, for one of the two reasons.", "Cerrados a más tardar el último día de la ventana, o de su extensión, por una de las dos razones."},
		denominator: Text{"Episodes whose window ended in the period and has passed, less those of people who died or moved.", "Episodios cuya ventana terminó en el período y ha pasado, menos los de personas que fallecieron o se mudaron."},
		unit:        perEpisode, source: Text{"episodes", "episodios"},
		measures: []measure{
			{key: "completed", label: Text{"Completed", "Completados"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, published: true, judge: finished(completed)},
			{key: "no_longer_needs", label: Text{"No longer needs support", "Ya no necesita apoyo"}, unit: perEpisode, shape: ShapeRate, base: ofEpisodes, better: true, judge: finished(set("no_longer_needs_support"))},
			{key: "days_open", label: Text{"Days open", "Días abiertos"}, unit: inDaysUnit, shape: ShapeTime, base: ofEpisodes, published: true, judge: ended(func(e *episodeFact) verdict {
				v := waited(e.opened, e.closed)
				v.in = e.state == "closed"
				return v
			})},
		},
	},
	{
		id:          "M17",
		title:       Text{"Follow-ups made when planned", "Seguimientos hechos según lo previsto"},
		definition:  Text{"Planned follow-ups that were made near the time when they were due.", "Seguimientos previstos que se hicieron cerca de la hora prevista."},
		numerator:   Text{"Made within 24 hours of the due time for the first two steps of the program's ladder, 72 hours for the others.", "Hechos a menos de 24 horas de lo previsto en los dos primeros pasos de la escalera del programa, 72 horas en los demás."},
		denominator: Text{"Follow-ups due in the period whose time has passed, less cancelled and replaced ones.", "Seguimientos previstos en el período cuya hora ha pasado, menos los cancelados y reemplazados."},
		unit:        perFollowUp, source: Text{"follow-ups, programs", "seguimientos, programas"},
		measures: []measure{
			{key: "on_time", label: Text{"Made when planned", "Hechos según lo previsto"}, unit: perFollowUp, shape: ShapeRate, base: ofFollowUps, better: true, published: true, judge: laddered},
		},
	},
	{
		id:          "M18",
		title:       Text{"Repeat crises", "Crisis repetidas"},
		definition:  Text{"People with a crisis response in the period who had another one shortly before; and how many crises the same people had before and after an episode was closed, which says nothing of the cause.", "Personas con una respuesta a crisis en el período que habían tenido otra poco antes; y cuántas crisis tuvieron las mismas personas antes y después de cerrar un episodio, lo que nada dice de la causa."},
		numerator:   Text{"People with two crisis responses at most 30, 90 or 365 days apart, the later one in the period.", "Personas con dos respuestas a crisis separadas como máximo 30, 90 o 365 días, la posterior en el período."},
		denominator: Text{"Identified people with a crisis response in the period.", "Personas identificadas con una respuesta a crisis en el período."},
		unit:        perPerson, source: Text{"encounters, episodes", "atenciones, episodios"},
		measures: []measure{
			{key: "within_30_days", label: Text{"Again within 30 days", "De nuevo en 30 días"}, unit: perPerson, shape: ShapeRate, base: ofPeople, judge: again(30)},
			{key: "within_90_days", label: Text{"Again within 90 days", "De nuevo en 90 días"}, unit: perPerson, shape: ShapeRate, base: ofPeople, published: true, judge: again(90)},
			{key: "within_365_days", label: Text{"Again within 365 days", "De nuevo en 365 días"}, unit: perPerson, shape: ShapeRate, base: ofPeople, judge: again(365)},
			{key: "before_closing", label: Text{"Crises in the 90 days before closing, of episodes closed in the period", "Crisis en los 90 días antes del cierre, de episodios cerrados en el período"}, unit: perCrisis, shape: ShapeTotal, base: ofEpisodes, judge: around(false)},
			{key: "after_closing", label: Text{"Crises in the 90 days after it", "Crisis en los 90 días siguientes"}, unit: perCrisis, shape: ShapeTotal, base: ofEpisodes, judge: around(true)},
		},
	},
	{
		id:          "M19",
		title:       Text{"Safety practice", "Práctica de seguridad"},
		definition:  Text{"Whether people in danger of harming themselves left with a plan, a safer home or on the way to a hospital; and how often a screening was done.", "Si las personas en peligro de hacerse daño quedaron con un plan, un hogar más seguro o camino a un hospital; y con qué frecuencia se hizo un tamizaje."},
		numerator:   Text{"A safety plan, safety of means, a hospital prescreen or a transport to a hospital; a screening among the interventions.", "Un plan de seguridad, seguridad de medios, una evaluación previa o un traslado al hospital; un tamizaje entre las intervenciones."},
		denominator: Text{"Signed encounters with moderate or high danger to self; signed crisis responses.", "Atenciones firmadas con peligro moderado o alto para sí; respuestas a crisis firmadas."},
		unit:        perEncounter, source: Text{"encounters", "atenciones"},
		measures: []measure{
			{key: "safety", label: Text{"In danger, with a safety step", "En peligro, con una medida de seguridad"}, unit: perEncounter, shape: ShapeRate, base: ofEncounters, better: true, published: true, judge: func(b *book, i int32) verdict {
				e := &b.encounters[i]
				if !e.counts() || e.place != inside || e.dangerSelf != "moderate" && e.dangerSelf != "high" {
					return verdict{}
				}
				return verdict{in: true, hit: e.planned || e.means || e.pre || hospital[e.disposition]}
			}},
			{key: "screened", label: Text{"Screening done", "Tamizaje hecho"}, unit: perCrisis, shape: ShapeRate, base: ofEncounters, better: true, published: true, judge: crisis(func(e *encounterFact) verdict {
				return verdict{in: true, hit: e.screened}
			})},
		},
	},
	{
		id:          "M20",
		title:       Text{"Documentation", "Documentación"},
		definition:  Text{"How soon encounters are signed, how many lie as drafts, how many were amended, and how many records wait for somebody to settle a difference.", "Con qué rapidez se firman las atenciones, cuántas quedan en borrador, cuántas se enmendaron y cuántos registros esperan que alguien resuelva una diferencia."},
		numerator:   Text{"Hours from the end of the call to the signature; drafts more than 24 hours after the start; amended encounters; records with a difference that is open now.", "Horas desde el final de la llamada hasta la firma; borradores a más de 24 horas del inicio; atenciones enmendadas; registros con una diferencia abierta ahora."},
		denominator: Text{"Signed encounters in the period; for differences, all records of people, calls and care.", "Atenciones firmadas en el período; para las diferencias, todos los registros de personas, llamadas y atención."},
		unit:        perEncounter, source: Text{"encounters, incidents, all records", "atenciones, incidentes, todos los registros"},
		measures: []measure{
			{key: "hours_to_signature", label: Text{"Hours from the end of the call to the signature", "Horas desde el final de la llamada hasta la firma"}, unit: Text{"hours", "horas"}, shape: ShapeTime, base: ofEncounters, judge: func(b *book, i int32) verdict {
				e := &b.encounters[i]
				if !e.counts() || e.place != inside || e.incident == none {
					return verdict{}
				}
				cleared := b.incidents[e.incident].cleared
				return verdict{in: true, unknown: cleared == 0 || e.signed == 0, value: float64(e.signed-cleared) / float64(hourMS)}
			}},
			{key: "old_drafts", label: Text{"Drafts of more than 24 hours", "Borradores de más de 24 horas"}, unit: perEncounter, shape: ShapeCount, base: ofEncounters, judge: func(b *book, i int32) verdict {
				e := &b.encounters[i]
				return verdict{in: e.lifecycle == record.Draft && e.place == inside && e.dated && e.at.end.UnixMilli()+dayMS < b.asOf, hit: true}
			}},
			{key: "amended", label: Text{"Amended", "Enmendadas"}, unit: perEncounter, shape: ShapeRate, base: ofEncounters, judge: func(b *book, i int32) verdict {
				e := &b.encounters[i]
				return verdict{in: e.counts() && e.place == inside, hit: e.lifecycle == record.Amended}
			}},
			{key: "conflicts", label: Text{"Records with an open difference", "Registros con una diferencia abierta"}, unit: Text{"records", "registros"}, shape: ShapeRate},
			{
				key: "sync_delay", label: Text{"Time from saving to arriving at the server", "Tiempo desde que se guarda hasta que llega al servidor"}, unit: inMinutes, shape: ShapeTime,
				absent: &Text{"When a save arrived is kept with the change, not with the record; the server's operational measurements have it.", "Cuándo llegó algo guardado consta en el cambio y no en el registro; lo tienen las mediciones operativas del servidor."},
			},
		},
	},
	{
		id:          "M21",
		title:       Text{"Equity", "Equidad"},
		definition:  Text{"M1 to M16 by race and ethnicity, age, gender, language, housing, place and hour: each group's rate beside the rate of all (the ratio), and people helped for each 1,000 of the population. A rate where more is better that is below 0.8 of all, in a group large enough, is flagged. The share of unknown is always printed.", "M1 a M16 por raza y etnia, edad, género, idioma, vivienda, lugar y hora: la tasa de cada grupo junto a la de todos (la razón), y las personas atendidas por cada 1000 habitantes. Se señala una tasa en la que más es mejor y que queda por debajo de 0,8 de la de todos, en un grupo suficientemente grande. La parte desconocida se muestra siempre."},
		numerator:   Text{"As of the metric that is broken down; a person with several races counts in each and among those of two or more.", "El de la métrica desglosada; una persona de varias razas cuenta en cada una y entre las de dos o más."},
		denominator: Text{"As of the metric; for the service rate, the population of the group in the table that an admin loads, where people of several races must count as here: in each and among those of two or more. Of all, each person counts once.", "El de la métrica; para la tasa de servicio, la población del grupo en la tabla que carga un administrador, donde las personas de varias razas deben contar como aquí: en cada una y entre las de dos o más. En el total cada persona cuenta una vez."},
		unit:        perPerson, source: Text{"as of the metric; a population table", "las de la métrica; una tabla de población"},
		measures: []measure{
			{key: "service_rate", label: Text{"People helped for each 1,000 inhabitants", "Personas atendidas por cada 1000 habitantes"}, unit: perPerson, shape: ShapeCount, base: ofEncounters, judge: whoHelped(true, true, inPeriod), perThousand: true, better: true},
		},
	},
	{
		id:          "M22",
		title:       Text{"Unmet demand", "Demanda no atendida"},
		definition:  Text{"Calls for which no team was free, or that were cancelled on the way; by hour and area.", "Llamadas para las que no había equipo libre, o que se cancelaron en camino; por hora y zona."},
		numerator:   Text{"The team was unavailable, or the call was cancelled on the way.", "El equipo no estaba disponible, o la llamada se canceló en camino."},
		denominator: Text{"Calls whose outcome is recorded.", "Llamadas cuyo resultado consta."},
		unit:        perCall, source: Text{"incidents", "incidentes"},
		measures: []measure{
			{key: "unmet", label: Text{"Not attended", "No atendidas"}, unit: perCall, shape: ShapeRate, base: ofIncidents, published: true, judge: unmet},
		},
	},
	{
		id:          "M23",
		title:       Text{"Comparison of models", "Comparación de modelos"},
		definition:  Text{"M3 to M16 side by side by model of program: crisis intervention team, co-response, mobile crisis, community responder. Models answer different calls: a difference is no effect.", "M3 a M16 lado a lado por modelo de programa: equipo CIT, corespuesta, equipo móvil de crisis, respuesta comunitaria. Los modelos atienden llamadas distintas: una diferencia no es un efecto."},
		numerator:   Text{"As of the metric.", "El de la métrica."},
		denominator: Text{"As of the metric, in programs of the model.", "El de la métrica, en programas del modelo."},
		unit:        perCall, source: Text{"as of the metric; programs", "las de la métrica; programas"},
		measures: []measure{
			{key: "calls", label: Text{"Calls by model", "Llamadas por modelo"}, unit: perCall, shape: ShapeMix, base: ofIncidents, list: "program_model", judge: func(b *book, i int32) verdict {
				in := &b.incidents[i]
				if in.program == none {
					return verdict{in: in.place == inside, unknown: true}
				}
				return verdict{in: in.place == inside, codes: []string{b.programs[in.program].model}}
			}},
		},
	},
	{
		id:          "M24",
		title:       Text{"Experience", "Experiencia"},
		definition:  Text{"What people answered in the anonymous survey: the distribution of each question, and the mean where its answers are numbers.", "Lo que las personas respondieron en la encuesta anónima: la distribución de cada pregunta y la media donde las respuestas son números."},
		numerator:   Text{"Answers to the question.", "Respuestas a la pregunta."},
		denominator: Text{"Anonymous responses in the period that answered it.", "Respuestas anónimas del período que la contestaron."},
		unit:        Text{"responses", "respuestas"}, source: Text{"anonymous responses to community forms", "respuestas anónimas a formularios de la comunidad"},
	},
}
