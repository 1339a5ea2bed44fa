package planted

// Bug is one planted bug.
type Bug uint8

// The bugs.
const (
	// None is no bug.
	None Bug = iota

	// Order and delivery.

	CursorGap
	FixedCut
	PageAnywhere
	NarrowPage
	PartialCut
	BackfillSkipped
	WakeupLost
	DroppedRowForgotten

	// Idempotence.

	NoIdempotence
	DedupeByOp
	VerdictChanges
	ForkIgnored
	ForkUntold
	VerdictUnchecked
	VerdictsUnwitnessed
	KeyReuse

	// Merge.

	LostUpdate
	AwaitedDropped
	BasesLost
	SignUnseen
	LateEditShown
	BesideSettles
	ClockDecides
	ConflictUnasked
	PolicySilent
	UnknownDropped

	// Scopes and rights.

	ScopeLeak
	WallLeak
	ChildBehind
	FollowForgotten
	PurgeKeepsRows
	PurgeKeepsStaged
	RevokedServed
	RightsUnchecked
	ReachUnchecked
	AuthorUnchecked
	SignatureUnchecked
	RunsUnsigned
	LookupUnchecked
	LookupKept
	JanitorJump

	// Outbox.

	UrgentFirst
	SettleEarly
	HeadsFromReply
	EditDuringPush
	EchoUnchecked
	DeltaUnchecked
	PoisonBlocks
	WordsLost

	// Storage and answers.

	AckEarly
	PartialApply
	GroupLosesMember
	DigestSkips
	TruncatedTaken

	// Damaged saves.

	RottenSent
	RottenShown
	RottenWrapped

	// count is how many there are, with None.
	count
)
