// Gives a form what the person's authenticator says, and sends it.
for (const form of document.querySelectorAll('form[data-passkey]')) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const complaint = form.querySelector('[role=alert]');
    complaint.hidden = true;
    try {
      const { publicKey } = JSON.parse(form.dataset.passkey);
      const key = form.dataset.act === 'create'
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
      form.elements.credential.value = JSON.stringify(key.toJSON());
      if (event.submitter?.hasAttribute('formaction')) form.action = event.submitter.formAction;
      form.submit();
    } catch {
      // No authenticator, or the person has thought better of it.
      complaint.hidden = false;
    }
  });
}
