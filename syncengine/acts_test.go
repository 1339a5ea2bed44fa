package syncengine_test

import "testing"

// Every act and rule of the merge, as stories: see story for the words.
func TestActs(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		// Plain writes.
		"an edit of what was seen replaces it": `
			C create text=calm risk=low
			E set text=upset<C
			> asks nothing
			> text upset/E*
			> risk low/C*
			> open nothing`,
		"two edits of one value stand side by side, the first accepted displayed": `
			C create text=calm
			A set text=upset<C
			B set text=angry<C
			> asks differs text
			> text upset/A* angry/B
			> open text`,
		"edits of different fields merge without a question": `
			C create text=calm risk=low
			A set text=upset<C
			B set risk=high<C
			> asks nothing
			> open nothing`,
		"the same edit twice is no conflict, and the next writer names both": `
			C create text=calm
			A set text=upset<C
			B set text=upset<C
			> asks nothing
			> text upset/A* upset/B
			> open nothing
			E set text=angry<A,B
			> text angry/E*`,
		"a resolve names all the heads that it settles": `
			C create text=calm
			A set text=upset<C
			B set text=angry<C
			R resolve text=angry<A,B
			> asks nothing
			> text angry/R*`,
		"a resolve that did not see every head settles those it saw": `
			C create text=calm
			A set text=upset<C
			B set text=angry<C
			D set text=tired<C
			R resolve text=angry<A,B
			> asks differs text
			> text tired/D* angry/R`,
		"an edit that arrives after its successor goes to history": `
			C create text=calm
			B set text=angry<Z
			> text calm/C* angry/B
			Z set text=upset<C
			> text angry/B*`,
		"a base that never comes changes nothing": `
			C create text=calm
			B set text=angry<Z
			> text calm/C* angry/B
			> asks differs text`,
		"a chain that arrives backwards ends in its last edit": `
			C create text=calm
			hold A set text=1<C
			hold B set text=2<A
			D set text=3<B
			> text 3/D*
			release B
			> text 3/D*
			release A
			> text 3/D*`,
		"a base that comes to lie in quarantine later still counts": `
			C create text=calm
			hold A set text=1<C
			D set text=3<A
			> text 3/D*`,
		"a change that comes twice has the effect of once": `
			C create text=calm
			A set text=upset<C
			B set text=angry<A
			again A
			> text angry/B*
			again B
			> text angry/B*`,

		// Absence.
		"a cleared field shows nothing and keeps its stamp": `
			C create text=calm
			A set text=-<C
			> text -/A*
			B set text=back<A
			> text back/B*`,
		"cleared against edited asks": `
			C create text=calm
			A set text=-<C
			B set text=angry<C
			> text -/A* angry/B
			> asks differs text`,
		"cleared twice is no conflict": `
			C create text=calm
			A set text=-<C
			B set text=-<C
			> text -/A* -/B
			> asks nothing`,
		"a field never written appears with the base zero": `
			C create text=calm
			A set new=x<0
			> new x/A*
			B set new=y<0
			> new x/A* y/B
			> asks differs new`,

		// Display by policy.
		"the most cautious risk is displayed, whoever came first": `
			C create risk=low
			A set risk=none<C
			B set risk=high<C
			> risk none/A high/B*
			> asks differs risk`,
		"an unknown risk ranks above the reassuring ones": `
			C create risk=low
			A set risk=future<C
			B set risk=none<C
			> risk future/A* none/B
			D set risk=high<C
			> risk future/A none/B high/D*`,
		"a cleared risk is the least cautious": `
			C create risk=low
			A set risk=-<C
			B set risk=none<C
			> risk -/A none/B*`,
		"a code that is present wins over its removal": `
			C create codes.police=+
			A set codes.police=-<C
			B set codes.police=+<C
			> codes.police -/A +/B*
			> asks differs codes.police`,
		"codes of one field merge one by one": `
			C create text=calm
			A set codes.police=+<0
			B set codes.ems=+<0
			> open nothing
			> codes.police +/A*
			> codes.ems +/B*`,
		"an element keeps both contents and shows one": `
			C create phones.a=111
			A set phones.a=222<C
			B set phones.a=333<C
			> phones.a 222/A* 333/B
			> open phones.a`,
		"an element removed while another edits it is shown": `
			C create phones.a=111
			A set phones.a=-<C
			B set phones.a=333<C
			> phones.a -/A 333/B*`,
		"appended events never ask": `
			C create text=calm
			A append events.a=sent<0
			B append events.b=called<0
			> asks nothing
			> open nothing
			> events.a sent/A*
			> events.b called/B*`,
		"a last-accepted field shows the newest and logs the loser": `
			C create label=red
			A set label=green<C
			> asks nothing
			B set label=blue<C
			> asks closed_by_policy label
			> label blue/B*
			> open nothing`,
		"a last-accepted field logs no loser that is equal": `
			C create label=red
			A set label=green<C
			B set label=green<C
			> asks nothing
			> label green/B*`,

		// State machines.
		"a legal step advances the state": `
			C create state=offered
			A set state=sent<C
			> asks nothing
			> state sent/A*`,
		"an illegal step stands beside the state, and the rest of its change applies": `
			C create state=offered text=calm
			A set state=closed<C text=upset<C
			> asks differs state
			> state offered/C* closed/A
			> text upset/A*`,
		"stacked steps advance the alternative": `
			C create state=offered
			A set state=accepted<C
			B set state=closed<A
			> state offered/C* closed/B
			> asks differs state`,
		"an illegal step takes nothing out, be its bases here, in quarantine or late": `
			C create state=offered
			A set state=closed<C,B,D
			hold B set state=sent<C
			D set state=sent<0
			> state offered/C* closed/A sent/D
			> asks differs state`,
		"a concurrent step stands beside the state": `
			C create state=sent
			A set state=accepted<C
			B set state=accepted<C
			> state accepted/A* accepted/B
			> asks nothing`,
		"a resolve may take a step back": `
			C create state=accepted
			A set state=offered<C
			> state accepted/C* offered/A
			R resolve state=sent<C,A
			> state sent/R*
			B resolve state=offered<R
			> state offered/B*
			> asks nothing`,
		"a state cannot be cleared": `
			C create state=sent
			A set state=-<C
			> state sent/C* -/A`,

		// Create.
		"a second creation of a record writes its paths beside the first": `
			C create text=calm risk=low
			D create text=calm risk=high new=x
			> text calm/C* calm/D
			> risk low/C high/D*
			> new x/D*
			> asks differs risk`,

		// Sign.
		"a sign of what is there": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			> asks nothing
			> lifecycle signed/S*
			> text calm/C*
			> rev 1
			> open nothing`,
		"a sign over an unseen edit displays what was signed": `
			C create lifecycle=draft text=calm
			E set text=upset<C
			S sign lifecycle=signed<C @C
			> asks not_in_signed_version text
			> lifecycle signed/S*
			> text upset/E calm/C*
			> open text`,
		"a sign over an unseen concurrent edit displays what was signed": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			B set text=angry<C
			S sign lifecycle=signed<C @C,B
			> asks not_in_signed_version text
			> text upset/A angry/B*`,
		"a sign beside an unseen new field does not show it": `
			C create lifecycle=draft text=calm
			E set new=x<0
			S sign lifecycle=signed<C @C
			> asks not_in_signed_version new
			> new x/E
			> open new`,
		"a sign beside an unseen event does not show it, and asks": `
			C create lifecycle=draft text=calm
			E append events.a=called<0
			S sign lifecycle=signed<C @C
			> asks not_in_signed_version events.a
			> events.a called/E
			> open events.a`,
		"a sign shows the less cautious risk that was signed, and asks": `
			C create lifecycle=draft risk=low
			E set risk=high<C
			S sign lifecycle=signed<C @C
			> risk high/E low/C*
			> asks not_in_signed_version risk`,
		"a sign shows the last-accepted value that was signed": `
			C create lifecycle=draft label=red
			E set label=blue<C
			S sign lifecycle=signed<C @C
			> label blue/E red/C*
			> asks not_in_signed_version label`,
		"a sign that changes a field signs its own value": `
			C create lifecycle=draft text=calm
			E set text=upset<C
			S sign lifecycle=signed<C text=tired<C @C
			> text upset/E tired/S*
			> asks not_in_signed_version text`,
		"a sign that clears a field signs its absence": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C text=-<C @C
			> text -/S*
			> asks nothing`,
		"a sign without a screen signs what is displayed": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			B set text=angry<C
			S sign lifecycle=signed<C
			> lifecycle signed/S*
			> text upset/A* angry/B
			> open text`,
		"a sign that writes no lifecycle on a signed record stands late": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			T sign text=upset<C @C
			> text calm/C* upset/T
			> rev 1`,
		"a sign of two open values leaves both open": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			B set text=angry<C
			S sign lifecycle=signed<C @C,A,B
			> text upset/A* angry/B
			> open text
			> asks differs text`,
		"a sign waits for a value that has not arrived": `
			C create lifecycle=draft text=calm
			hold E set text=upset<C
			S sign lifecycle=signed<C @C,E
			> waits
			> lifecycle draft/C*
			> rev 0
			release E
			release S
			> text upset/E*
			> lifecycle signed/S*
			> rev 1`,
		"a sign that writes over one of two open values displays what it wrote": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			B set text=angry<C
			S sign lifecycle=signed<C text=tired<A @C,A,B
			> text angry/B tired/S*
			> open text`,
		"a sign on the screen of a creation that has not arrived waits": `
			C create lifecycle=draft text=calm
			hold D create lifecycle=draft text=upset
			S sign lifecycle=signed<D @D
			> waits
			release D
			release S
			> lifecycle draft/C signed/S*
			> text calm/C upset/D*
			> asks not_in_signed_version lifecycle, not_in_signed_version text`,
		"two signs: the second stands late": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			T sign lifecycle=signed<C text=upset<C @C
			> lifecycle signed/S* signed/T
			> text calm/C* upset/T
			> asks late_edit text, acted_on_older_version
			> rev 1`,

		// After the seal.
		"an edit after the sign is kept, not displayed, and asks": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=upset<C
			> asks late_edit text
			> text calm/C* upset/E
			> open text`,
		"a late edit of a late edit replaces it": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=upset<C
			F set text=angry<E
			> text calm/C* angry/F`,
		"a late edit that is equal asks nothing": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=calm<C
			> text calm/C* calm/E
			> asks nothing`,
		"a late edit of a risk does not raise the display of a signed record": `
			C create lifecycle=draft risk=low
			S sign lifecycle=signed<C @C
			E set risk=high<C
			> risk low/C* high/E
			> asks late_edit risk`,
		"a late value of a field that was not signed is not displayed": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set new=x<0
			> new x/E
			> asks late_edit new
			> open new`,
		"a late event is not displayed, and asks": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E append events.a=called<0
			> events.a called/E
			> asks late_edit events.a
			> open events.a`,
		"a late edit over a quarantined one leaves the signed value": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			hold Q set text=1<C
			E set text=2<Q
			> text calm/C* 2/E`,
		"a quarantined edit that a late one has named leaves the signed value": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=2<B
			hold B set text=1<C
			> text calm/C* 2/E`,
		"a resolve after the sign only sets others aside": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=upset<C
			R resolve text=upset<C,E
			> text calm/C*
			> asks nothing
			> open nothing`,
		"a resolve after the sign sets a late field aside": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set new=x<0
			R resolve new=-<E
			> new nothing
			> open nothing`,
		"a plain write cannot lift a seal": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set lifecycle=draft<S
			> lifecycle signed/S* draft/E
			> asks late_edit lifecycle`,

		// Amend.
		"an amend changes the signed version": `
			C create lifecycle=draft text=calm risk=low
			S sign lifecycle=signed<C @C
			A amend lifecycle=amended<S text=upset<C @C,S
			> lifecycle amended/A*
			> text upset/A*
			> risk low/C*
			> asks nothing
			> rev 2`,
		"an amend of one field leaves the display of another": `
			C create lifecycle=draft text=calm risk=low
			E set text=upset<C
			S sign lifecycle=signed<C @C
			> text upset/E calm/C*
			A amend lifecycle=amended<S risk=high<C @C,E,S
			> text upset/E calm/C*
			> risk high/A*
			> open text`,
		"an amend of one field does not bring in a late value of another": `
			C create lifecycle=draft text=calm risk=low
			S sign lifecycle=signed<C @C
			E set new=x<0
			A amend lifecycle=amended<S risk=high<C @C,S,E
			> new x/E
			> risk high/A*
			> open new`,
		"an amend takes a late edit in": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=upset<C
			A amend lifecycle=amended<S text=upset<C,E @C,S,E
			> text upset/A*
			> open nothing`,
		"an amend that did not see a late edit leaves it beside": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			E set text=upset<C
			A amend lifecycle=amended<S text=tired<C @C,S
			> text upset/E tired/A*
			> asks not_in_signed_version text`,
		"an amend that did not see an amend stands late": `
			C create lifecycle=draft text=calm
			S sign lifecycle=signed<C @C
			A amend lifecycle=amended<S text=upset<C @C,S
			B amend lifecycle=amended<S text=tired<C @C,S
			> text upset/A* tired/B
			> asks late_edit text, acted_on_older_version
			> rev 2`,

		// Void, restore, close.
		"a void keeps everything and displays what was there": `
			C create lifecycle=draft text=calm
			V void lifecycle=void<C @C
			> lifecycle void/V*
			> text calm/C*
			> asks nothing`,
		"a void of an older version asks": `
			C create lifecycle=draft text=calm
			E set text=upset<C
			V void lifecycle=void<C @C
			> lifecycle void/V*
			> text upset/E*
			> asks acted_on_older_version`,
		"an edit after a void is kept and asks": `
			C create lifecycle=draft text=calm
			V void lifecycle=void<C @C
			E set text=upset<C
			> text calm/C* upset/E
			> asks late_edit text`,
		"a restore lifts the seal": `
			C create lifecycle=draft text=calm
			V void lifecycle=void<C @C
			R restore lifecycle=draft<V @C,V
			> lifecycle draft/R*
			> asks nothing
			E set text=upset<C
			> text upset/E*`,
		"a restore displays by policy again": `
			C create lifecycle=draft text=calm risk=low
			V void lifecycle=void<C @C
			E set risk=high<C new=x<0
			> risk low/C* high/E
			R restore lifecycle=draft<V @C,V,E
			> risk low/C high/E*
			> new x/E*`,
		"a restore to signed keeps the signed version": `
			C create lifecycle=draft risk=low
			S sign lifecycle=signed<C @C
			V void lifecycle=void<S @C,S
			E set risk=high<C
			R restore lifecycle=signed<V @C,S,V,E
			> lifecycle signed/R*
			> risk low/C* high/E`,
		"an illegal close stands beside the lifecycle, and seals nothing": `
			C create lifecycle=draft text=calm
			L close lifecycle=locked<C
			> lifecycle draft/C* locked/L
			> asks differs lifecycle
			E set text=upset<C
			> text upset/E*`,
		"an act on a screen that lacks a later field asks": `
			C create lifecycle=draft text=calm
			E set new=x<0
			V void lifecycle=void<C @C
			> asks acted_on_older_version`,
		"an act on a screen that shows a value beside the one here asks": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			hold B set text=angry<C
			V void lifecycle=void<C @C,A,B
			> asks acted_on_older_version`,
		"an act on the present screen asks nothing, in whatever order that came": `
			C create lifecycle=draft text=calm
			A set text=upset<C
			B set text=angry<C
			V void lifecycle=void<C @C,B,A
			> asks nothing`,
		"an act on a screen that shows what is not here asks": `
			C create lifecycle=draft text=calm
			hold E set new=x<0
			V void lifecycle=void<C @C,E
			> asks acted_on_older_version
			> lifecycle void/V*`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, text)
		})
	}
}
