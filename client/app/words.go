package app

import "github.com/tandem-response/tandem/web"

// words are what the pages say beyond what the contract says of fields and codes.
//
//nolint:misspell // Half of it is Spanish.
var words = web.Words{
	// Menu and titles.
	"navToday": {"Today", "Hoy"}, "navPeople": {"People", "Personas"}, "navTray": {"To decide", "Por decidir"}, "navMore": {"Settings", "Ajustes"},
	"shiftTitle": {"Your shift", "Su turno"}, "allCalls": {"All calls", "Todas las llamadas"}, "who": {"Who is it?", "¿Quién es?"},
	"newPerson": {"New person", "Nueva persona"}, "editPerson": {"Edit person", "Editar persona"}, "newReferral": {"New referral", "Nueva derivación"},
	"newNote": {"New note", "Nueva nota"}, "lockTitle": {"Locked", "Bloqueado"}, "errTitle": {"That did not work", "No ha funcionado"},

	// The status.
	"stHere": {"Saved here", "Guardado aquí"}, "stSent": {"Sent", "Enviado"}, "stVerified": {"Verified", "Verificado"}, "stNeeds": {"Needs you", "Le necesita"},
	"stNoContact": {"Saved here, never sent yet", "Guardado aquí, aún sin enviar"}, "stUnknown": {"The store cannot be read", "No se puede leer el almacén"},
	"stTyped":  {"typing, not sent yet", "texto aún sin enviar"},
	"stUnsent": {"%d not sent", "%d sin enviar"}, "stNoSignal": {"no signal", "sin señal"},
	"estUrgentOne": {"1 urgent %s", "1 %s urgente"}, "estUrgent": {"%d urgent", "%d urgentes"}, "estOthers": {"%d others", "%d más"}, "estAbout": {"about %s", "unos %s"},
	"recHere": {"Saved here", "Guardado aquí"}, "recSent": {"Sent", "Enviado"},
	"unsaved":          {"What you type is not kept at the moment: the app does not answer. Leave this page open; it tries again by itself.", "Lo que escribe no se está guardando: la aplicación no responde. Deje abierta esta página; lo intenta de nuevo sola."},
	"changedElsewhere": {"Somebody else has changed this record.", "Otra persona ha cambiado este registro."}, "showIt": {"Show it", "Mostrarlo"},
	"kept": {"Typing is kept as you go.", "Lo que escribe se guarda al momento."}, "typing": {"Keeping…", "Guardando…"}, "keptNow": {"Kept here.", "Guardado aquí."},
	"otherWindow": {"Another window has typed here:", "Otra ventana ha escrito aquí:"}, "notTaken": {"This is kept as typed and is no save yet: correct it.", "Se conserva como se escribió y aún no está guardado: corríjalo."},

	// Lock.
	"lockNow": {"Lock now", "Bloquear ahora"}, "passphrase": {"Passphrase of this device", "Frase de contraseña de este dispositivo"}, "pin": {"PIN", "PIN"},
	"unlock": {"Unlock", "Desbloquear"}, "orPassphrase": {"Use the passphrase", "Usar la frase de contraseña"}, "draftKept": {"What you typed is kept.", "Lo que escribió está guardado."},
	"errWrong": {"That does not fit. Try again.", "No coincide. Inténtelo de nuevo."}, "errWrongPIN": {"The PIN does not fit. %d tries are left.", "El PIN no coincide. Quedan %d intentos."},
	"errPINOver": {"Too many wrong PINs: the passphrase opens it.", "Demasiados PIN erróneos: la frase de contraseña lo abre."},

	// Shift.
	"unit": {"Unit", "Unidad"}, "unitHint": {"For example C12: the number of each call begins with it.", "Por ejemplo C12: el número de cada llamada empieza así."}, "crew": {"With you tonight", "Con usted esta noche"},
	"usualSource": {"Calls usually come from", "Las llamadas suelen llegar de"}, "beginShift": {"Start shift", "Comenzar turno"}, "keepShift": {"Save shift", "Guardar turno"}, "endShift": {"End shift", "Terminar turno"},
	"noShift": {"No shift is under way.", "No hay turno en curso."}, "since": {"since", "desde"}, "onUnit": {"Unit", "Unidad"}, "nobodyElse": {"Nobody else of your team is known on this device yet.", "Este dispositivo aún no conoce a nadie más de su equipo."},

	// Today.
	"newCall": {"New call", "Nueva llamada"}, "tapType": {"One tap on its type starts it.", "Un toque en el tipo la inicia."}, "otherTypes": {"Other types", "Otros tipos"}, "openCalls": {"Under way", "En curso"}, "noOpen": {"No call is under way.", "No hay ninguna llamada en curso."},
	"unfinished": {"Not finished", "Sin terminar"}, "clearedCalls": {"Cleared", "Finalizadas"}, "olderThan12": {"older than 12 h", "más de 12 h"}, "notSavedYet": {"typed, no record yet", "escrito, aún sin registro"},
	"crisisLine": {"988 Suicide and Crisis Lifeline", "988 Línea de Prevención del Suicidio y Crisis"}, "crisisLineHow": {"Call or text 988, at any hour. In Spanish: press 2.", "Llame o envíe un mensaje al 988 a cualquier hora. En español: pulse 2."},
	"officerHint": {"You see the calls of your team, and nothing of the persons.", "Usted ve las llamadas de su equipo y nada de las personas."},

	// Call.
	"editTimes": {"Edit times", "Editar horas"}, "edit": {"Edit", "Editar"}, "now": {"now", "ahora"}, "result": {"Result", "Resultado"}, "contactMade": {"Contact made", "Hubo contacto"}, "nobody": {"Nobody found", "No se encontró a nadie"},
	"refusedContact": {"Refused contact", "Rechazó el contacto"}, "cancelled": {"Cancelled", "Cancelada"}, "quietSays": {"These clear the call. With police on the team they also say: no police action, no force.", "Finalizan la llamada. Con policía en el equipo indican además: sin acción policial, sin uso de la fuerza."},
	"clearCall": {"Clear the call", "Finalizar la llamada"}, "clearMissing": {"The call is not cleared yet: some things are missing.", "La llamada aún no está finalizada: faltan datos."}, "clearedAs": {"Cleared: %s", "Finalizada: %s"},
	"addPerson": {"Another person", "Otra persona"}, "contacts": {"Persons", "Personas"}, "noContacts": {"Nobody is recorded with this call yet.", "Aún no hay nadie registrado en esta llamada."}, "crewOn": {"On the call", "En la llamada"}, "details": {"Details of the call", "Detalles de la llamada"},
	"leCleared": {"Police cleared", "Policía terminó"}, "keepsOpen": {"It closes by itself in a few seconds.", "Se cierra sola en unos segundos."}, "conflictHere": {"Two people wrote different things here. Both are kept.", "Dos personas escribieron cosas distintas aquí. Ambas se conservan."}, "decide": {"Look and decide", "Mirar y decidir"},

	// People.
	"find": {"Name, phone or description", "Nombre, teléfono o descripción"}, "search": {"Search", "Buscar"}, "recent": {"Recent", "Recientes"}, "nobodyKnown": {"Nobody on this device fits.", "Nadie en este dispositivo coincide."}, "onlyHere": {"This looks on this device only.", "Busca solo en este dispositivo."},
	"notIdentified": {"Not identified", "Sin identificar"}, "declinedName": {"Declined to give a name", "No quiso dar su nombre"}, "about": {"about %d", "unos %d"}, "doNotContact": {"Do not contact", "No contactar"}, "savePerson": {"Save person", "Guardar persona"},
	"alikeSure": {"Name and birth date or phone fit a person who is here already.", "El nombre y la fecha de nacimiento o el teléfono coinciden con una persona que ya está aquí."}, "alikeMaybe": {"A person with a like name is here already.", "Ya hay aquí una persona con un nombre parecido."}, "isThis": {"It is this one", "Es esta persona"}, "isNew": {"No, it is somebody else", "No, es otra persona"},
	"timeline": {"What happened", "Lo ocurrido"}, "nothingYet": {"Nothing is recorded here yet.", "Aún no hay nada registrado aquí."}, "aboutPerson": {"About", "Datos"}, "addNote": {"Add a note", "Añadir nota"}, "addReferral": {"Add a referral", "Añadir derivación"}, "printCard": {"Print", "Imprimir"},

	// Encounter.
	"secPlace": {"Where", "Dónde"}, "secCall": {"Call", "Llamada"}, "secPolice": {"Police", "Policía"}, "secOps": {"Notes for the team", "Notas para el equipo"}, "secTimes": {"Times", "Horas"},
	"secPresenting": {"Why", "Motivo"}, "secDanger": {"Danger", "Peligro"}, "secDone": {"Done", "Hecho"}, "secOutcome": {"Outcome", "Resultado"}, "secWithout": {"Without you", "Sin ustedes"}, "secPlan": {"Plan", "Plan"}, "secWords": {"Words", "Relato"}, "secFrame": {"Frame", "Marco"},
	"secName": {"Name", "Nombre"}, "secAbout": {"About", "Datos"}, "secLife": {"Circumstances", "Circunstancias"}, "secContactRule": {"Contact", "Contacto"}, "secReferral": {"Referral", "Derivación"}, "secNote": {"Note", "Nota"},
	"missing": {"%d to go", "faltan %d"}, "complete": {"complete", "completo"}, "sign": {"Sign", "Firmar"}, "signSays": {"Signed words stay as they are; later words are added beside them.", "Lo firmado queda como está; lo posterior se añade al lado."}, "signMissing": {"It is not signed: some things are missing.", "No está firmado: faltan datos."}, "signStuck": {"It is not signed: something typed could not be kept as a value. Correct it first.", "No está firmado: algo escrito no se pudo guardar. Corríjalo primero."},
	"leaveDraft": {"Leave as a draft", "Dejar como borrador"}, "addendum": {"Add to it", "Añadir"}, "fillIn": {"Fill in what is marked.", "Complete lo marcado."}, "toCall": {"To the call", "A la llamada"}, "check": {"Check", "Revise"},
	"hint.incident.notes_ops": {"Police see this. Write no health information.", "La policía ve esto. No escriba información de salud."}, "hint.person.dob": {"Year, or year-month, or year-month-day: 1984-07-21", "Año, año-mes o año-mes-día: 1984-07-21"}, "hint.person.lang": {"A tag such as en or es", "Una etiqueta como en o es"},
	"hint.encounter.narrative":   {"May be finished later. Signed with the record.", "Puede terminarse después. Se firma con el registro."},
	"hint.encounter.cf_ed":       {"Without this team, would it have been so?", "Sin este equipo, ¿habría sido así?"},
	"hint.referral.target_text":  {"Whom to. 988 is always a choice.", "A quién. El 988 siempre es una opción."},
	"field.encounter.cf_ed":      {"Emergency department?", "¿Servicio de urgencias?"},
	"field.encounter.cf_arrest":  {"Arrest?", "¿Detención?"},
	"field.encounter.cf_hold":    {"Involuntary hold?", "¿Internamiento involuntario?"},
	"field.incident.place_type":  {"Where is it?", "¿Dónde es?"},
	"field.person.phones.number": {"Phone", "Teléfono"},

	// Referral.
	"saveReferral": {"Save referral", "Guardar derivación"}, "sentBefore": {"Sent there before", "Destinos anteriores"}, "referTo": {"For", "Para"}, "next": {"Next step", "Siguiente paso"}, "howEnded": {"How it ended", "Cómo terminó"}, "steps": {"Steps", "Pasos"}, "urgentSays": {"Urgent: it is sent before everything else.", "Urgente: se envía antes que todo lo demás."},
	"verifyNote": {"“Connected” says that you were there.", "«Conectada» indica que usted estuvo presente."}, "cardTitle": {"Where to go", "Adónde ir"},

	// Note.
	"saveSign": {"Save and sign", "Guardar y firmar"}, "saveDraft": {"Save as a draft", "Guardar como borrador"},

	// Tray.
	"clashes": {"Two people wrote different things", "Dos personas escribieron cosas distintas"}, "clashHow": {"Both are kept. Until somebody decides, the one marked “shown” stands, which is the more careful one where that matters.", "Ambas se conservan. Hasta que alguien decida vale la marcada como «se muestra», que es la más prudente donde importa."},
	"shown": {"shown", "se muestra"}, "othersDecide": {"Who made the record decides, or a lead.", "Decide quien creó el registro o un responsable."}, "keepThis": {"Take this", "Tomar esta"}, "nothingThere": {"(left empty)", "(vacío)"}, "against": {"Compared with the first", "Comparado con el primero"}, "onlyFirst": {"only in the first", "solo en el primero"}, "onlyHereD": {"only here", "solo aquí"}, "you": {"you", "usted"}, "somebody": {"Somebody of the team", "Alguien del equipo"}, "aValue": {"(several values)", "(varios valores)"}, "unknownKind": {"Record", "Registro"},
	"refusedHead": {"Not accepted by the server", "No aceptado por el servidor"}, "refusedHow": {"Your words are kept here and at the server. Open the record and correct it, or take the save back.", "Sus palabras se conservan aquí y en el servidor. Abra el registro y corríjalo, o retire lo guardado."}, "takeBack": {"Take it back", "Retirarlo"}, "closedHead": {"Decided", "Decidido"}, "vdDismissed": {"closed by a lead, not applied", "cerrado por un responsable, no aplicado"}, "vdReplaced": {"another save stands in its place", "otro guardado ocupa su lugar"},
	"allGood": {"Nothing needs you.", "Nada le necesita."}, "howStands": {"How it stands", "Cómo está"}, "waits": {"Waits to be sent", "Espera envío"}, "oldest": {"The oldest since", "Lo más antiguo desde"}, "lastContact": {"Last contact with the server", "Último contacto con el servidor"}, "verifiedAt": {"Proved the same as the server's", "Comprobado igual al servidor"}, "never": {"never", "nunca"}, "noAnswer": {"The last try got no answer. It goes on by itself.", "El último intento no obtuvo respuesta. Sigue solo."}, "tryNow": {"Try to send now", "Intentar enviar ahora"}, "emptyWaits": {"nothing", "nada"},
	"ntUnconfirmed": {"This store has a new name since it was copied or set back. Ask your administrator for a code.", "Este almacén tiene un nombre nuevo desde que se copió o restauró. Pida un código a su administrador."}, "ntClock": {"The clock of this device is wrong. Set it.", "El reloj de este dispositivo está mal. Ajústelo."}, "ntRecovering": {"The server was restored and is being checked.", "El servidor se restauró y se está revisando."}, "ntDamaged": {"The disk has damaged something that waits. Tell your administrator.", "El disco ha dañado algo que espera. Avise a su administrador."}, "ntLost": {"The server has lost saves of this device. Tell your administrator.", "El servidor ha perdido datos de este dispositivo. Avise a su administrador."},
	"refusal.0": {"It was not accepted. Ask a lead.", "No se aceptó. Pregunte a un responsable."}, "refusal.1": {"It could not be read. A lead can look at it.", "No se pudo leer. Un responsable puede mirarlo."}, "refusal.2": {"Some fields are not in a form that can be kept. Correct them.", "Algunos campos no tienen una forma que se pueda guardar. Corríjalos."}, "refusal.3": {"It is too large. Shorten the text.", "Es demasiado largo. Acorte el texto."}, "refusal.4": {"Your role does not allow it. Ask a lead.", "Su función no lo permite. Pregunte a un responsable."},
	"refusal.5": {"App and server are of versions that do not go together. It is tried again by itself.", "La aplicación y el servidor son de versiones que no casan. Se intenta de nuevo solo."}, "refusal.6": {"The server does not know this kind of record yet. It is tried again by itself.", "El servidor aún no conoce este tipo de registro. Se intenta de nuevo solo."}, "refusal.7": {"The record that it belongs to is not there. It is tried again by itself.", "El registro al que pertenece no está. Se intenta de nuevo solo."}, "refusal.8": {"This device or its user has been suspended. A lead can release it.", "Este dispositivo o su usuario está suspendido. Un responsable puede liberarlo."}, "refusal.9": {"It waits with an earlier save that was not accepted.", "Espera junto a un guardado anterior no aceptado."}, "refusal.10": {"It signs over a value that has not reached the server yet. It is tried again by itself.", "Firma sobre un valor que aún no llegó al servidor. Se intenta de nuevo solo."},

	// Settings.
	"look": {"Look", "Aspecto"}, "theme.": {"Dark from 19:00 to 7:00", "Oscuro de 19:00 a 7:00"}, "theme.dark": {"Dark", "Oscuro"}, "theme.light": {"Light", "Claro"}, "theme.red": {"Red, for night eyes", "Rojo, para la vista nocturna"}, "setIt": {"Set", "Aplicar"}, "thisDevice": {"This device", "Este dispositivo"}, "worksHere": {"Works here", "Trabaja aquí"}, "role": {"Role", "Función"}, "device": {"Device", "Dispositivo"}, "records": {"Records held", "Registros guardados"},
	"pinHead": {"PIN", "PIN"}, "pinHow": {"Six digits or more. It ends a lock; after a restart the passphrase is asked.", "Seis cifras o más. Termina un bloqueo; tras reiniciar se pide la frase de contraseña."}, "pinNew": {"New PIN", "Nuevo PIN"}, "pinAgain": {"The same again", "El mismo otra vez"}, "pinSet": {"The PIN is set.", "El PIN está puesto."}, "setPIN": {"Set PIN", "Poner PIN"}, "noVault": {"This store is not in a vault, so it never locks. Move it into one with tandem vault seal.", "Este almacén no está en una bóveda y nunca se bloquea. Muévalo con tandem vault seal."}, "errPINTwice": {"The two are not the same.", "Los dos no son iguales."}, "errPINWeak": {"Six digits or more, not all alike and not in a row.", "Seis cifras o más, ni todas iguales ni seguidas."},

	// Care.
	"navCards": {"Alerts", "Alertas"}, "safetyCards": {"Safety cards", "Tarjetas de seguridad"}, "navDirectory": {"Directory", "Directorio"}, "dueToday": {"Follow-ups due", "Seguimientos pendientes"}, "overdue": {"overdue", "atrasado"}, "callAfter": {"Call after %s", "Llamada tras %s"}, "dayOf": {"day %d of %d", "día %d de %d"},
	"openEpisode": {"Open an episode", "Abrir un episodio"}, "episodeOn": {"Follow-up is under way", "Seguimiento en curso"}, "ladder": {"Planned and made calls", "Llamadas previstas y hechas"}, "closeEpisode": {"Close it, because", "Cerrarlo, porque"}, "putOnHold": {"Put on hold", "Poner en espera"}, "takeUp": {"Take up again", "Retomar"}, "endsOn": {"Window ends", "La ventana termina"}, "openedOn": {"Opened", "Abierto"},
	"secFollowUp": {"Follow-up", "Seguimiento"}, "secEpisode": {"Episode", "Episodio"}, "secConsent": {"Consent", "Consentimiento"}, "secRelease": {"What, to whom, until when", "Qué, a quién, hasta cuándo"}, "secAlert": {"Alert", "Alerta"}, "howWent": {"How did it go? One tap logs it.", "¿Cómo fue? Un toque lo registra."}, "phoneFirst": {"By phone unless you choose otherwise.", "Por teléfono, salvo que elija otra cosa."},
	"new.consent": {"New consent", "Nuevo consentimiento"}, "new.safety_alert": {"New safety alert", "Nueva alerta de seguridad"}, "saveConsent": {"Save consent", "Guardar consentimiento"}, "saveAlert": {"Save alert", "Guardar alerta"}, "addConsent": {"Consent", "Consentimiento"}, "addAlert": {"Safety alert", "Alerta de seguridad"}, "signHere": {"Sign here with a finger", "Firme aquí con el dedo"}, "clearInk": {"Clear the signature", "Borrar la firma"}, "signature": {"Signature", "Firma"}, "inkOrPaper": {"No glass at hand? Choose paper or a witness above.", "¿Sin pantalla táctil? Elija papel o un testigo arriba."},
	"revoke": {"Revoke today", "Revocar hoy"}, "revokeSays": {"From then on nothing more is passed on under it.", "Desde entonces no se comparte nada más con él."}, "safety": {"Safety", "Seguridad"}, "leadApproves": {"The police see it once a lead has approved it: a card with name, address, this text and its end, and nothing else.", "La policía lo ve cuando un responsable lo aprueba: una tarjeta con nombre, dirección, este texto y su fin, y nada más."}, "noCards": {"No safety card is in force.", "No hay tarjetas de seguridad vigentes."}, "until": {"until", "hasta"},
	"openNow": {"Open now", "Abierto ahora"}, "closedNow": {"Closed now", "Cerrado ahora"}, "hoursUnknown": {"Hours unknown", "Horario desconocido"}, "policeDrop": {"Takes police drop-off", "Recibe traslados policiales"}, "inSpanish": {"In Spanish", "En español"}, "walkIn": {"Walk in", "Sin cita"}, "noPlaces": {"The directory on this device holds nothing that fits.", "El directorio de este dispositivo no tiene nada que coincida."}, "fromDirectory": {"From the directory", "Del directorio"}, "showOnly": {"Show only", "Mostrar solo"}, "need": {"Need", "Necesidad"}, "all": {"All", "Todas"},
	"field.consent.recipients.name": {"To whom", "A quién"}, "hint.consent.expires_on": {"Left empty, it ends a year from today.", "Si se deja vacío, termina en un año."}, "hint.safety_alert.text": {"What helps whoever arrives next. No diagnosis, no medication.", "Lo que ayude a quien llegue después. Sin diagnóstico ni medicación."},

	// Errors.
	"errStore": {"The store could not be read or written. Nothing that was saved is lost. Try again.", "No se pudo leer o escribir el almacén. Nada de lo guardado se ha perdido. Inténtelo de nuevo."}, "errNotFound": {"There is nothing here.", "Aquí no hay nada."}, "errLease": {"No contact with the server for 30 days: charts open again after the next sync. New records can be made.", "Sin contacto con el servidor durante 30 días: los expedientes se abren tras la próxima sincronización. Se pueden crear registros."}, "errDisk": {"The disk is full, nothing of this step was saved. Free some space and try again.", "El disco está lleno y no se guardó este paso. Libere espacio e inténtelo de nuevo."}, "errWiped": {"An administrator has ordered this device to be wiped. What is unsent goes first.", "Un administrador ordenó borrar este dispositivo. Antes se envía lo pendiente."}, "errNotEnrolled": {"This store is not enrolled: run tandem enroll first.", "Este almacén no está registrado: ejecute antes tandem enroll."}, "errForbidden": {"Your role does not allow that. Ask a lead.", "Su función no lo permite. Pregunte a un responsable."}, "errInvalid": {"It is not saved. Check: %s.", "No está guardado. Revise: %s."}, "toToday": {"To today", "A hoy"},
}
