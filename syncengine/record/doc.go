// Package record is the domain: what the kinds of record are, and every rule
// that the engine, the forms and the server apply to them. [Domain] implements
// syncengine.Rules.
//
// Nothing about a field is written here. Merge policy, labels, code lists and
// formats are annotations of the contract (tandem/v1, options.proto) and are
// read from its descriptors once. What the contract cannot say stands here as
// data, one table a file:
//
//	lifecycle.go  transitions, by the code list of the state; sealed states
//	rights.go     who may do what: kind × role → cells of acts and reach
//	scopes.go     who holds what: role → compartments; when work is open
//	required.go   what a record must hold in order to be cleared or signed
//	review.go     rules over several fields (rule_V1 …), for forms and server
//	among.go      rules over a record and others that it names
//	project.go    what police partners see of a safety alert
//	likeness.go   when two persons are likely to be one
//
// The same rules run on both ends, with different weight. A form shows every
// problem that [Domain.Validate] finds while the author stands there. The server
// refuses only what [Domain.Check] and the rights refuse: form, single fields,
// and the author's right to the act. A rule over several fields is never a
// refusal there, since its author may not have seen the other values:
// [Domain.Review], and [Domain.ReviewAmong] over several records, name it for a human
// to look at.
//
// # Bodies
//
// A body is canonical: fields in order of number, elements of a field in order
// of key, nothing twice, absent fields left out, minimal varints, also inside
// messages that this version knows. [Domain.Body] makes one from a generated
// message and [Domain.Message] goes back; fields of a newer version survive both.
// [Domain.Diff] turns an edited message into the paths that its author changed.
//
// # Unknown codes
//
// A code that this version does not know is kept, merged and forwarded. Where
// the most cautious value is displayed it ranks just below the most cautious code
// of its list: above everything that could reassure, below the one value that
// calls for the most care. Forms do not offer it for new entry. Transitions from
// or to it are legal for nobody, so that a human is asked.
package record
