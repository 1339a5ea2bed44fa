//go:build plantedbugs

package planted

// A Row says what a bug is.
type Row struct {
	Bug Bug
	// Name of the switch, Class of bug, and what it breaks.
	Name, Class, Breaks string
}

// Table is every bug.
var Table = []Row{
	{CursorGap, "CursorGap", "cursor gap", "a change at the console takes a sequence that was given out before"},
	{FixedCut, "FixedCut", "fixed as-of cut", "a page flips before the end of its snapshot"},
	{PageAnywhere, "PageAnywhere", "page not starting at the position accepted", "a late or doubled page is taken in wherever the device stands"},
	{NarrowPage, "NarrowPage", "page of other scopes accepted", "a page for the scopes of yesterday moves the position of today's"},
	{PartialCut, "PartialCut", "part of a cut shown", "rows of a page that is not closing are shown at once"},
	{BackfillSkipped, "BackfillSkipped", "new scope not backfilled", "a scope that comes later is taken for read"},
	{WakeupLost, "WakeupLost", "lost wake-up", "a commit wakes nobody for one of its scopes"},
	{DroppedRowForgotten, "DroppedRowForgotten", "row left in a scope", "a record that moves out of a scope leaves its row there"},
	{NoIdempotence, "NoIdempotence", "no idempotence", "a change that comes twice takes effect twice"},
	{DedupeByOp, "DedupeByOp", "dedupe by op number only", "a change id under another op number takes effect again"},
	{VerdictChanges, "VerdictChanges", "outcome not stored", "a repeated change is told that it was applied, whatever it was told before"},
	{ForkIgnored, "ForkIgnored", "device clone unnoticed", "two histories under one replica id are taken as one"},
	{ForkUntold, "ForkUntold", "fork not told", "a forked replica whose other life was told waits for pages for ever"},
	{VerdictUnchecked, "VerdictUnchecked", "verdict without envelope check", "a verdict on an op of a former life is taken for the present one's"},
	{VerdictsUnwitnessed, "VerdictsUnwitnessed", "verdict of a lost history kept", "a device does not show where it was told verdicts that no cut has confirmed"},
	{KeyReuse, "KeyReuse", "stamp reuse", "stamps come from so few numbers that two changes share one"},
	{LostUpdate, "LostUpdate", "lost update", "a write removes values that its author had not seen"},
	{AwaitedDropped, "AwaitedDropped", "dropped awaited list", "a value that was written over before it came stands again"},
	{BasesLost, "BasesLost", "base lost on quarantine", "what a change in quarantine was written over stays beside what replaced both"},
	{SignUnseen, "SignUnseen", "sign over the unseen", "a signature covers what stands there, not what its signer saw"},
	{LateEditShown, "LateEditShown", "late edit displaces the signed", "a plain write to a sealed record is displayed"},
	{BesideSettles, "BesideSettles", "alternative taken out by who may not settle", "who writes beside a signed visit takes another's words out"},
	{ClockDecides, "ClockDecides", "last writer wins by clock", "of two values the one with the later clock is displayed"},
	{ConflictUnasked, "ConflictUnasked", "conflict without a question", "two values stand side by side and nobody is asked"},
	{PolicySilent, "PolicySilent", "silent loser", "a value that a policy sets aside leaves no note"},
	{UnknownDropped, "UnknownDropped", "schema skew drops fields", "a field that this version does not know is left out of a new record"},
	{ScopeLeak, "ScopeLeak", "scope leak", "a device that asks for a record by id gets it, whatever it may hold"},
	{WallLeak, "WallLeak", "compartment leak", "who follows into a team's scopes follows into the wrong compartment"},
	{ChildBehind, "ChildBehind", "scope move against child create", "a person does not follow into the team of a new encounter"},
	{FollowForgotten, "FollowForgotten", "scopes forgotten on the next write", "a write to a record takes it out of the teams that it follows"},
	{PurgeKeepsRows, "PurgeKeepsRows", "purge keeps rows", "a scope is taken away and its records stay"},
	{PurgeKeepsStaged, "PurgeKeepsStaged", "purge keeps what waits", "a scope is taken away and its rows that wait for the flip keep their bytes"},
	{RevokedServed, "RevokedServed", "revoked replica gets pages", "a revoked replica reads on"},
	{RightsUnchecked, "RightsUnchecked", "rights not judged", "a role writes kinds and fields that it has no right to"},
	{ReachUnchecked, "ReachUnchecked", "foreign scope ids", "a change writes to a record that its author does not hold"},
	{AuthorUnchecked, "AuthorUnchecked", "forged author", "a change in another's name is taken"},
	{RunsUnsigned, "RunsUnsigned", "signature over part of a push", "of several runs of ops only the newest is signed"},
	{LookupUnchecked, "LookupUnchecked", "lookup past the wall", "a lookup finds what its person may not read"},
	{LookupKept, "LookupKept", "lookup outlives the right", "what was looked up stays on a device whose person may no longer read it"},
	{JanitorJump, "JanitorJump", "janitor trusts a clock that jumps", "a server's clock that goes ahead by years ages everything at once"},
	{SignatureUnchecked, "SignatureUnchecked", "unsigned push", "a push is taken whatever its signature says"},
	{UrgentFirst, "UrgentFirst", "urgent overtakes its need", "an urgent change is sent before those it needs"},
	{SettleEarly, "SettleEarly", "settle before the flip", "an applied change leaves the overlay before a cut holds it"},
	{HeadsFromReply, "HeadsFromReply", "heads applied from a reply", "a verdict makes the device's own view the server's state"},
	{EditDuringPush, "EditDuringPush", "edit during a push lost", "a flip takes what was saved since the push off the screen"},
	{EchoUnchecked, "EchoUnchecked", "echo accepted without its hash", "an echo is taken for the state that the device happens to have"},
	{DeltaUnchecked, "DeltaUnchecked", "delta on the wrong base", "touched paths are sent and spliced onto whatever the device holds"},
	{PoisonBlocks, "PoisonBlocks", "one bad change blocks the queue", "a change that cannot be decoded fails its whole push"},
	{WordsLost, "WordsLost", "quarantine keeps no bytes", "a change in quarantine is a verdict without its words"},
	{AckEarly, "AckEarly", "ack before durable", "a push is answered although its transaction was taken back"},
	{PartialApply, "PartialApply", "partial apply", "a transaction that fails midway leaves its first half"},
	{GroupLosesMember, "GroupLosesMember", "group commit loses a member", "a change that is committed with others is told applied and dropped"},
	{DigestSkips, "DigestSkips", "digest skips a bucket", "records of one bucket are not in the sums"},
	{TruncatedTaken, "TruncatedTaken", "truncated answer taken as whole", "an answer is taken without its digest"},
	{RottenSent, "RottenSent", "damaged bytes sent", "a save is sent without a look at whether its bytes are those that were saved"},
	{RottenShown, "RottenShown", "damaged save stays on the screen", "a save that is set aside as damaged still counts on the records it wrote"},
	{RottenWrapped, "RottenWrapped", "damaged bytes in a new envelope", "a store that becomes another replica's wraps damaged saves anew, as if they had been written so"},
}
