// Package form plays questionnaires: which items are asked, what is missing, what is
// scored. It is pure and the same at both ends.
//
// A form is the message Form of the contract. Its items are a flat list in the order in
// which they stand on paper; one inside another names it as its parent and follows it.
// [Check] says what is wrong with a form, [Publishable] what must be there before it is
// published. [Evaluate] plays answers against one.
//
// # FHIR
//
// [Import] reads the resource Questionnaire of FHIR R4 in JSON, [Export] writes it.
// Taken are the items group, display, boolean, integer, decimal, date, dateTime, string,
// text, choice and open-choice, with required, repeats, maxLength, enableWhen and
// enableBehavior, answerOption with ordinalValue, prefix, code, and the Spanish of the
// extension translation. What would change what is asked and is not taken (answers by
// value set, expressions, repeating groups, hidden and read-only items, elements that R4
// does not know) is refused, with the place in the file; what changes nothing (contacts,
// dates, narrative) is left out and named. Scores, bands and what a form is about stand
// in extensions of our own, below [Base].
//
// # Which items are asked
//
// An item is asked where its parent is, and its conditions hold. A condition looks at the
// answers to its question; those to a question that is not asked count as none. With
// several answers "=" and the orders hold where any answer does, "!=" where none is equal,
// so that it holds for an unanswered question too; "exists" compares whether there is an
// answer. Dates of different precision are neither equal nor in order where the shorter
// one leaves it open. Conditions in a circle are refused.
//
// Answers to items that are not asked are kept, named and not counted.
//
// # Scores
//
// A sum adds the points of what was chosen, and the numbers of number questions. A share
// is the sum by the highest possible one of the same items, in whole percent, halves up;
// options without points (not applicable) count in neither. A mean is that of other
// scores, each taken before it is rounded. Rules lead to a band by conditions: the first
// that holds gives it, one without conditions once everything its score looks at is
// answered. A result that open questions could still change is not complete.
package form
