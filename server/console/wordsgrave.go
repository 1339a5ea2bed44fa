package console

import "github.com/tandem-response/tandem/web"

// graveWords are what pages say of acts that are confirmed by a second factor.
//
//nolint:misspell // Half of it is Spanish.
var graveWords = web.Words{
	// Devices.
	"devDo": {"What can be done", "Qué se puede hacer"}, "devStands": {"How it stands", "Cómo está"}, "devNothing": {"Nothing can be done with it from here.", "Desde aquí no se puede hacer nada con él."}, "devSuspended": {"suspended", "suspendido"},
	"sealedCopy": {"Sealed copy of what is unsent", "Copia sellada de lo no enviado"}, "isSealed": {"kept on the device; it can be handed in without unlocking it", "se guarda en el dispositivo; se puede entregar sin desbloquearlo"}, "notSealed": {"none", "ninguna"},
	"nothingUnsent":    {"At its last contact it had nothing that this server lacks. What was written on it since is not known here.", "En su último contacto no tenía nada que falte en este servidor. Lo escrito en él desde entonces no se conoce aquí."},
	"someUnsent":       {"At its last contact it had %s saves that this server does not have. What was written on it since is not known here.", "En su último contacto tenía %s registros guardados que este servidor no tiene. Lo escrito en él desde entonces no se conoce aquí."},
	"unknownUnsent":    {"It was not heard of since this server was started: what it has not sent is not known.", "No se sabe de él desde que arrancó este servidor: no se conoce lo que no ha enviado."},
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
