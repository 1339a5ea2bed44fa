package record

// Names of kinds, as the contract states them.
const (
	agency      = "agency"
	program     = "program"
	team        = "team"
	staff       = "staff"
	device      = "device"
	resource    = "resource"
	codeSet     = "code_set"
	incident    = "incident"
	alertCard   = "alert_card"
	person      = "person"
	encounter   = "encounter"
	referral    = "referral"
	note        = "note"
	episode     = "episode"
	followUp    = "follow_up"
	consent     = "consent"
	disclosure  = "disclosure"
	safetyAlert = "safety_alert"
	attachment  = "attachment"
	review      = "review"
)

// Role codes of the list staff_role.
const (
	clinician = "clinician"
	peer      = "peer"
	lePartner = "le_partner"
	lead      = "lead"
	admin     = "admin"
	auditor   = "auditor"
	analyst   = "analyst"
	// operator is no code: it stands for the server's own acts.
	operator = "(operator)"
)

// noteType is the number of Note.type, attachmentCategory that of Attachment.category;
// privateNote is the code of the notes that are their author's own.
const (
	noteType           = 21
	attachmentCategory = 21
	privateNote        = "private_psychotherapy"
	// protocol is the code of the attachments that are reference data.
	protocol = "protocol"
)
