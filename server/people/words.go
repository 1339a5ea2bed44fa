package people

// words are what the pages say, in the order of langs.
var words = map[string][2]string{
	// Pages.
	"signin":      {"Sign in", "Iniciar sesión"},
	"begin":       {"Set your passphrase", "Establezca su frase de contraseña"},
	"passphrase":  {"Change your passphrase", "Cambiar su frase de contraseña"},
	"home":        {"You are signed in", "Ha iniciado sesión"},
	"factor":      {"Second step", "Segundo paso"},
	"newFactor":   {"Set up an authenticator", "Configurar un autenticador"},
	"newRecovery": {"New recovery codes", "Nuevos códigos de recuperación"},
	"recovery":    {"Your recovery codes", "Sus códigos de recuperación"},
	"failed":      {"That did not work", "No ha funcionado"},

	// Labels and buttons.
	"login":           {"Login", "Usuario"},
	"passphraseLabel": {"Passphrase", "Frase de contraseña"},
	"oldPassphrase":   {"Your passphrase now", "Su frase de contraseña actual"},
	"newPassphrase":   {"New passphrase", "Nueva frase de contraseña"},
	"again":           {"The same again", "La misma otra vez"},
	"code":            {"One-time code", "Código de un solo uso"},
	"set":             {"Set passphrase", "Establecer la frase"},
	"back":            {"Back", "Volver"},
	"out":             {"Sign out", "Cerrar sesión"},
	"end":             {"End this session", "Terminar esta sesión"},
	"endOthers":       {"End all other sessions", "Terminar todas las demás sesiones"},

	"factorCode": {"Code", "Código"},
	"firstCode":  {"First code that the app shows", "Primer código que muestra la aplicación"},
	"use":        {"Use this authenticator", "Usar este autenticador"},
	"cancel":     {"Cancel", "Cancelar"},
	"stored":     {"I have put them in a safe place", "Los he guardado en un lugar seguro"},

	// Texts.
	"factorHow":      {"Type the six digits that your authenticator shows, or one of your recovery codes.", "Escriba los seis dígitos que muestra su autenticador, o uno de sus códigos de recuperación."},
	"newFactorHow":   {"Scan this with an authenticator app on your phone, then type the code that it shows. You will be asked for such a code at each sign-in.", "Escanee esto con una aplicación de autenticación en su teléfono y escriba el código que muestra. Se le pedirá un código así en cada inicio de sesión."},
	"picture":        {"Picture for the app: the same secret is written below", "Imagen para la aplicación: el mismo secreto está escrito abajo"},
	"bySecret":       {"Or type this secret into the app:", "O escriba este secreto en la aplicación:"},
	"newRecoveryHow": {"The codes that you have now will be good no more.", "Los códigos que tiene ahora dejarán de servir."},
	"recoveryHow":    {"Each of them stands in for your authenticator once, after your passphrase. They are shown now and never again: print them, or put them into a password manager.", "Cada uno sustituye una vez a su autenticador, después de su frase. Se muestran ahora y nunca más: imprímalos o guárdelos en un gestor de contraseñas."},
	"left":           {"left:", "quedan:"},
	"haveCode":       {"I have a one-time code", "Tengo un código de un solo uso"},
	"beginHow":       {"Your administrator has given you a login and a one-time code. The code is good once, for a day.", "Su administrador le ha dado un usuario y un código. El código sirve una sola vez, durante un día."},
	"rules":          {"15 characters or more: four or five words that have nothing to do with each other. Spaces and any signs may be in it, none must. A password manager may fill it in.", "15 caracteres o más: cuatro o cinco palabras que no tengan relación entre sí. Puede llevar espacios y cualquier signo, ninguno es obligatorio. Un gestor de contraseñas puede rellenarla."},
	"signedInAs":     {"You are signed in as", "Ha iniciado sesión como"},
	"sessions":       {"Your sessions", "Sus sesiones"},
	"here":           {"this browser", "este navegador"},
	"pending":        {"second step outstanding", "falta el segundo paso"},
	"unknownBrowser": {"Unknown browser", "Navegador desconocido"},
	"began":          {"since", "desde"},
	"seen":           {"last used", "último uso"},
	"change":         {"Change", "Cambiar"},
	"minutes":        {"Minutes to wait:", "Minutos de espera:"},
	"failedHow":      {"The server cannot do this at the moment. Nothing was changed. Try again later.", "El servidor no puede hacerlo en este momento. No se ha cambiado nada. Inténtelo más tarde."},
	"passphraseSet":  {"Your passphrase is changed. All your other sessions are ended.", "Su frase de contraseña ha cambiado. Todas sus demás sesiones se han terminado."},

	// What was wrong.
	"wrong":           {"Login or passphrase is wrong. If you do not know your passphrase, ask your administrator for a one-time code.", "El usuario o la frase de contraseña no es correcto. Si no recuerda su frase, pida a su administrador un código de un solo uso."},
	"wrongCode":       {"Login or code is wrong, or the code is used or too old. Ask your administrator for a new one.", "El usuario o el código no es correcto, o el código ya se usó o caducó. Pida uno nuevo a su administrador."},
	"wrongPassphrase": {"The passphrase is wrong. Nothing was changed.", "La frase de contraseña no es correcta. No se ha cambiado nada."},
	"wrongFactor":     {"The code is wrong, or was used already. Wait for the next one.", "El código no es correcto o ya se usó. Espere al siguiente."},
	"differ":          {"The two are not the same. Nothing was changed.", "Las dos no son iguales. No se ha cambiado nada."},
	"tooOften":        {"Too many tries. Wait before you try again.", "Demasiados intentos. Espere antes de volver a intentarlo."},
	"short":           {"The passphrase is shorter than 15 characters: take four or five words.", "La frase tiene menos de 15 caracteres: use cuatro o cinco palabras."},
	"long":            {"The passphrase is longer than 256 characters.", "La frase tiene más de 256 caracteres."},
	"common":          {"This passphrase is one of those that are tried first: take words that have nothing to do with each other.", "Esta frase es de las que se prueban primero: use palabras que no tengan relación entre sí."},
}
