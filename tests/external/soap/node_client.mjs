// The soap package as a client of the SOAP service. usage: node_client.mjs WSDL TOKEN FOREIGN_ACCOUNT_ID
import soap from 'soap';

const [wsdl, token, foreign] = process.argv.slice(2);
let passed = 0;
let failed = 0;

function check(binding, operation, what, isSo, seen) {
  if (isSo) passed += 1;
  else {
    failed += 1;
    console.log(`node-soap ${binding} ${operation}: ${what}: ${JSON.stringify(seen)}`);
  }
}

for (const binding of ['ServiceSoap', 'ServiceSoap12']) {
  const is12 = binding === 'ServiceSoap12';
  const client = await soap.createClientAsync(wsdl, { forceSoap12Headers: is12 });
  const port = client.Service[binding];
  const raw = (operation, message) =>
    new Promise((resolve, reject) => port[operation](message, (error, result) => (error ? reject(error) : resolve(result[`${operation}Result`]))));
  const call = async (operation, code, message, children) => {
    const result = await raw(operation, { authToken: token, ...children });
    check(binding, operation, 'code', result.Code === code, result);
    if (message !== null) check(binding, operation, 'message', result.Message === message, result);
    check(binding, operation, 'Joson', 'Joson' in result === operation.endsWith('UsingAccountID'), result);
    return result;
  };

  const email = `node-${binding}@example.com`;
  const second = `node-${binding}-2@example.com`;
  const created = 'The Account has been created successfully';
  const account = (address, sendEmail) => ({ name: 'Node', email: address, password: 'secret', planID: 1, sendEmail });
  await call('CreateAccount', 'Success', created, account(email, false));
  await call('CreateAccount', 'Success', created, account(second, true));
  await call('CreateAccount', 'UsedEmail', null, account(email, false));
  const info = JSON.parse((await call('GetAccountInfo', 'Success', null, { email })).Message);
  check(binding, 'GetAccountInfo', 'email', info.Email === email, info);
  const accountID = info.AccountID;
  const both = await call('GetAccountInfoUsingAccountID', 'Success', null, { accountID });
  check(binding, 'GetAccountInfoUsingAccountID', 'Joson is Message', both.Joson === both.Message, both);
  const expiryDate = new Date('2031-02-03T04:05:06Z').toISOString();
  for (const [suffix, who] of [['UsingAccountID', { accountID }], ['', { email }]]) {
    await call(`SuspendAccount${suffix}`, 'Success', 'The account has been suspended', who);
    await call(`ActivateAccount${suffix}`, 'Success', 'The account has been activated', who);
    await call(`ChangeAccountExpiryDate${suffix}`, 'Success', 'The Account Expiry Date has been updated', { ...who, expiryDate });
  }
  await call('FreezeAccountUsingAccountID', 'Success', 'The account has been frozen', { accountID, paymentUrl: 'https://pay.example/?a=1&b=2' });
  const seen = JSON.parse((await call('GetAccountInfo', 'Success', null, { email })).Message);
  check(binding, 'FreezeAccountUsingAccountID', 'state', seen.EffectiveStatus === 'frozen' && seen.PaymentUrl === 'https://pay.example/?a=1&b=2', seen);
  check(binding, 'ChangeAccountExpiryDate', 'date', seen.ExpiryDate === '2031-02-03T04:05:06Z', seen);
  await call('UnfreezeAccountUsingAccountID', 'Success', 'The account has been unfrozen', { accountID });
  await call('UpdateAccountStatusUsingAccountID', 'Success', 'The account status has been updated', { accountID, status: 'inactive' });
  await call('SuspendAccountUsingAccountID', 'InvalidAccount', 'Invalid Account ID or Account ID does not exist', { accountID: 2000000000 });
  await call('SuspendAccountUsingAccountID', 'InvalidAccount', 'Invalid Account ID, Account ID does not belong to you', { accountID: foreign });
  await call('SuspendAccount', 'InvalidEmail', 'Invalid Email or Email does not exist', { email: 'nobody@example.com' });
  const refused = await raw('SuspendAccountUsingAccountID', { authToken: 'wrong', accountID });
  check(binding, 'SuspendAccountUsingAccountID', 'token', refused.Code === 'InvalidAuth' && refused.Message === 'Invalid Authentication Token', refused);
  try {
    await raw('SuspendAccountUsingAccountID', { authToken: token, accountID: 'x' });
    check(binding, 'fault', 'accountID', false, 'no fault');
  } catch (error) {
    check(binding, 'fault', 'accountID', /Server was unable to read request\. ---> accountID must be an int/.test(error.message), error.message);
  }
  await call('DeleteAccountUsingAccountID', 'Success', 'The account has been Deleted', { accountID });
  await call('DeleteAccount', 'Success', 'The account has been Deleted', { email: second });
  console.log(`node-soap ${binding}: 14 operations`);
}

console.log(`node-soap: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
