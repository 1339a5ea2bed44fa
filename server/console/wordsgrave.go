package console

import "github.com/tandem-response/tandem/web"

// graveWords are what pages say of acts that are confirmed by a second factor.
//
//nolint:misspell // Half of it is Spanish.
var graveWords = web.Words{
	// Purges.
	"navPurges": {"Purges", "Purgas"}, "purgeTitle": {"A purge", "Una purga"}, "purgeSheet": {"What is known of it", "Lo que se sabe de ella"}, "purgesMade": {"Purges", "Purgas"}, "purgesNone": {"None was asked for.", "No se ha pedido ninguna."}, "purgeNow": {"What may be purged", "Lo que puede purgarse"},
	"purgeHow":  {"What is past the time that your agency keeps it. The server counts it each day and removes nothing: one admin asks for a purge, and another one approves it.", "Lo que superó el tiempo que su agencia lo conserva. El servidor lo cuenta cada día y no elimina nada: un administrador pide la purga y otro la aprueba."},
	"purgeable": {"%d people and %d calls, %d records. Besides, past their time: %d wait for somebody, %d are under a legal hold, %d are another agency’s too or nobody’s that is known.", "%d personas y %d llamadas, %d registros. Además, superaron su tiempo: %d esperan a alguien, %d están bajo retención legal, %d son también de otra agencia o de nadie conocido."},
	"countedAt": {"Counted %s.", "Contado %s."}, "notCounted": {"Not counted yet.", "Aún sin contar."}, "countNow": {"Count now", "Contar ahora"},
	"purgeAsk": {"Ask for a purge", "Pedir una purga"}, "purgeAskSays": {"It is counted again, and notes which records may be purged. Nothing is removed before another admin approves.", "Se vuelve a contar y se anota qué registros pueden purgarse. No se elimina nada antes de que otro administrador lo apruebe."}, "purgeReason": {"Reason, without names", "Motivo, sin nombres"},
	"purgeOf": {"%d people, %d calls, %d records", "%d personas, %d llamadas, %d registros"}, "purgeWhat": {"What was asked for", "Lo pedido"}, "purgeDecided": {"Decided by", "Decidido por"}, "purgeErased": {"Records erased", "Registros borrados"}, "purgeKept": {"Had to stay", "Debieron quedarse"}, "purgeEnded": {"Done", "Terminado"},
	"purgeAsked": {"Waits for a second admin", "Espera a un segundo administrador"}, "purgeRefused": {"Refused", "Rechazada"}, "purgeApproved": {"Approved, under way", "Aprobada, en curso"}, "purgeDone": {"Done", "Hecha"},
	"purgeBroken":   {"Approved, not finished: whoever may approve it can have the server go on", "Aprobada, sin terminar: quien pueda aprobarla puede hacer que el servidor siga"},
	"purge.approve": {"Approve the purge", "Aprobar la purga"}, "purge.refuse": {"Refuse the purge", "Rechazar la purga"},
	"purgeShort.approve": {"What may still be purged is erased for good.", "Lo que aún pueda purgarse se borra definitivamente."}, "purgeShort.refuse": {"Nothing is removed.", "No se elimina nada."},
	"purgeSays.approve": {"Of the records that were asked for, those that may still be purged are erased here and, at their next contact, on the devices. They cannot be brought back. The database is rewritten after that and takes no writes meanwhile: for a large one choose a quiet hour.", "De los registros pedidos se borran aquí, y en los dispositivos en su próximo contacto, los que aún puedan purgarse. No se pueden recuperar. Después se reescribe la base de datos y entretanto no admite escrituras: si es grande, elija una hora tranquila."},
	"purgeSays.refuse":  {"Nothing is removed. Another purge can be asked for.", "No se elimina nada. Se puede pedir otra purga."},
	"okPurgeAsked":      {"Asked for. Another admin of your agency has to approve it.", "Pedida. Otro administrador de su agencia debe aprobarla."}, "okPurge.approve": {"Approved. The server is doing it.", "Aprobada. El servidor la está haciendo."}, "okPurge.refuse": {"Refused. Nothing was removed.", "Rechazada. No se ha eliminado nada."},
	"errPurgeNothing":    {"Nothing may be purged now: what is under a legal hold or waits for somebody stays.", "Ahora no puede purgarse nada: lo que está bajo retención legal o espera a alguien se queda."},
	"errPurgeOwn":        {"A purge is decided on by somebody else than whoever asked for it.", "Sobre una purga decide alguien distinto de quien la pidió."},
	"errPurgeOpen":       {"A purge for your agency is open already: decide on that one first.", "Ya hay una purga abierta para su agencia: decida primero sobre esa."},
	"errPurgeAsker":      {"Whoever asked for it is no active admin of the agency any more: refuse it, and ask anew.", "Quien la pidió ya no es administrador activo de la agencia: rechácela y pídala de nuevo."},
	"errPurgeUnsettled":  {"Your account is younger than 7 days, or whoever asked has changed it in that time: let another admin approve.", "Su cuenta tiene menos de 7 días, o quien la pidió la cambió en ese tiempo: que apruebe otro administrador."},
	"errPurgeRecovering": {"The server was restored, and not every device has reported since: nothing is purged before each has.", "El servidor se restauró y no todos los dispositivos han vuelto a conectar: nada se purga antes de eso."},
	"errPurgeMoved":      {"Somebody has just written about what is to be purged, or placed a hold: try again.", "Alguien acaba de escribir sobre lo que se va a purgar, o puso una retención: inténtelo de nuevo."},
	"errPurgeDecided":    {"It does not wait for a decision any more, as shown below.", "Ya no espera una decisión, como se ve abajo."},
	"job.propose":        {"What may be purged", "Lo que puede purgarse"}, "jobHow.propose": {"Each day: counts what may be purged, for each agency. It removes nothing: a person asks, and another one approves.", "Cada día: cuenta lo que puede purgarse, por agencia. No elimina nada: una persona lo pide y otra lo aprueba."}, "job.purge": {"Purge", "Purga"},
	"didPropose": {"May be purged: %d people and %d calls, %d records.", "Pueden purgarse: %d personas y %d llamadas, %d registros."},

	// Devices.
	"devDo": {"What can be done", "Qué se puede hacer"}, "devStands": {"How it stands", "Cómo está"}, "devNothing": {"Nothing can be done with it from here.", "Desde aquí no se puede hacer nada con él."}, "devSuspended": {"suspended", "suspendido"},
	"sealedCopy": {"Sealed copy of what is unsent", "Copia sellada de lo no enviado"}, "isSealed": {"kept on the device; it can be handed in without unlocking it", "se guarda en el dispositivo; se puede entregar sin desbloquearlo"}, "notSealed": {"none", "ninguna"},
	"nothingUnsent":    {"At its last contact it had nothing that this server lacks. What was written on it since is not known here.", "En su último contacto no tenía nada que falte en este servidor. Lo escrito en él desde entonces no se conoce aquí."},
	"someUnsent":       {"At its last contact it had %s saves that this server does not have. What was written on it since is not known here.", "En su último contacto tenía %s registros guardados que este servidor no tiene. Lo escrito en él desde entonces no se conoce aquí."},
	"unknownUnsent":    {"It was not heard of yet: what it has not sent is not known.", "Todavía no se ha sabido de él: no se conoce lo que no ha enviado."},
	"dev.suspend":      {"Suspend it", "Suspenderlo"},
	"dev.lift":         {"Lift the suspension", "Levantar la suspensión"},
	"dev.revoke":       {"Shut it out", "Excluirlo"},
	"dev.wipe":         {"Wipe it", "Borrarlo"},
	"dev.keep":         {"Take the order to wipe it back", "Retirar la orden de borrado"},
	"devShort.suspend": {"Nothing is sent or received until you lift it. Nothing is removed.", "No se envía ni se recibe nada hasta que lo levante. No se elimina nada."},
	"devShort.lift":    {"It works again as before.", "Vuelve a funcionar como antes."},
	"devShort.revoke":  {"For good. What it still sends goes to a lead.", "Definitivo. Lo que aún envíe va a un responsable."},
	"devShort.wipe":    {"For good. It erases itself at its next contact.", "Definitivo. Se borra en su próximo contacto."},
	"devShort.keep":    {"It has not been told yet.", "Aún no se le ha comunicado."},
	"devSays.suspend":  {"From now on the server takes nothing from this device and sends it nothing; it tells whoever holds it so. Nothing is removed: what it has not sent stays on it and is sent once you lift this. Who works with it can still read what is on it, as without signal.", "Desde ahora el servidor no acepta nada de este dispositivo ni le envía nada; se lo indica a quien lo tenga. No se elimina nada: lo no enviado se queda en él y se envía cuando lo levante. Quien trabaje con él puede leer lo que contiene, como sin cobertura."},
	"devSays.lift":     {"At its next contact the device sends what it kept and receives what it missed.", "En su próximo contacto el dispositivo envía lo que guardó y recibe lo que le falta."},
	"devSays.revoke":   {"From now on the device is sent nothing. What it still has and sends is not applied: it goes to a lead, who decides. This cannot be taken back; to work with the device again, enrol it anew.", "Desde ahora no se envía nada al dispositivo. Lo que aún tenga y envíe no se aplica: va a un responsable, que decide. No se puede deshacer; para volver a usarlo, regístrelo de nuevo."},
	"devSays.wipe":     {"From now on the device is shut out. At its next contact it shows nothing any more, sends what it had not sent, which goes to a lead, destroys its key, removes its files and confirms that. A device that is never switched on again never hears of it. The order can be taken back until the device has been told.", "Desde ahora el dispositivo queda excluido. En su próximo contacto deja de mostrar nada, envía lo que no había enviado, que va a un responsable, destruye su clave, elimina sus archivos y lo confirma. Un dispositivo que no vuelva a encenderse nunca se entera. La orden puede retirarse hasta que se le haya comunicado."},
	"devSays.keep":     {"The device keeps what it holds and is let in again, unless it was shut out or suspended before.", "El dispositivo conserva lo que tiene y vuelve a ser admitido, salvo que ya estuviera excluido o suspendido."},
	"wipeOrder":        {"Order to wipe it", "Orden de borrado"}, "wipeAsked": {"Ordered", "Ordenado"}, "wipeTold": {"The device was told", "Comunicado al dispositivo"}, "wipeDone": {"The device has confirmed", "Confirmado por el dispositivo"}, "wipeOf": {"%d of %d stores", "%d de %d almacenes"}, "notYet": {"not yet", "aún no"},
	"wipeOrderSays":    {"Until it has confirmed the device may still hold what it held.", "Hasta que lo confirme, el dispositivo puede conservar lo que tenía."},
	"errDeviceMoved":   {"Nothing was changed: the device stands otherwise by now, as shown below.", "No se ha cambiado nada: el dispositivo ya está de otro modo, como se ve abajo."},
	"okDevice.suspend": {"The device is suspended.", "El dispositivo está suspendido."},
	"okDevice.lift":    {"The suspension is lifted.", "La suspensión está levantada."},
	"okDevice.revoke":  {"The device is shut out.", "El dispositivo está excluido."},
	"okDevice.wipe":    {"The order is given: the device wipes itself at its next contact.", "La orden está dada: el dispositivo se borra en su próximo contacto."},
	"okDevice.keep":    {"The order was taken back.", "La orden se ha retirado."},
}
