<?php
// PHP's SoapClient as a client of the SOAP service. usage: php php_client.php WSDL TOKEN FOREIGN_ACCOUNT_ID
[, $wsdl, $token, $foreign] = $argv;
$passed = $failed = 0;

function check(string $binding, string $operation, string $what, bool $isSo, mixed $seen): void
{
    global $passed, $failed;
    if ($isSo) {
        $passed++;
    } else {
        $failed++;
        echo "php $binding $operation: $what: ", json_encode($seen), "\n";
    }
}

foreach (['ServiceSoap' => SOAP_1_1, 'ServiceSoap12' => SOAP_1_2] as $binding => $version) {
    $client = new SoapClient($wsdl, ['soap_version' => $version, 'cache_wsdl' => WSDL_CACHE_NONE, 'exceptions' => true]);
    $call = function (string $operation, string $code, ?string $message, array $children) use ($client, $token, $binding) {
        $result = $client->__soapCall($operation, [['authToken' => $token] + $children])->{$operation . 'Result'};
        check($binding, $operation, 'code', $result->Code === $code, $result);
        if ($message !== null) {
            check($binding, $operation, 'message', $result->Message === $message, $result);
        }
        check($binding, $operation, 'Joson', property_exists($result, 'Joson') === str_ends_with($operation, 'UsingAccountID'), $result);
        return $result;
    };

    [$email, $second] = ["php-$binding@example.com", "php-$binding-2@example.com"];
    $created = 'The Account has been created successfully';
    $account = fn (string $address, bool $send) => ['name' => 'PHP', 'email' => $address, 'password' => 'secret', 'planID' => 1, 'sendEmail' => $send];
    $call('CreateAccount', 'Success', $created, $account($email, false));
    $call('CreateAccount', 'Success', $created, $account($second, true));
    $call('CreateAccount', 'UsedEmail', null, $account($email, false));
    $info = json_decode($call('GetAccountInfo', 'Success', null, ['email' => $email])->Message);
    check($binding, 'GetAccountInfo', 'email', $info->Email === $email, $info);
    $id = ['accountID' => $info->AccountID];
    $both = $call('GetAccountInfoUsingAccountID', 'Success', null, $id);
    check($binding, 'GetAccountInfoUsingAccountID', 'Joson is Message', $both->Joson === $both->Message, $both);
    foreach ([['UsingAccountID', $id], ['', ['email' => $email]]] as [$suffix, $who]) {
        $call("SuspendAccount$suffix", 'Success', 'The account has been suspended', $who);
        $call("ActivateAccount$suffix", 'Success', 'The account has been activated', $who);
        $call("ChangeAccountExpiryDate$suffix", 'Success', 'The Account Expiry Date has been updated', $who + ['expiryDate' => '2031-02-03T04:05:06Z']);
    }
    $call('FreezeAccountUsingAccountID', 'Success', 'The account has been frozen', $id + ['paymentUrl' => 'https://pay.example/?a=1&b=2']);
    $seen = json_decode($call('GetAccountInfo', 'Success', null, ['email' => $email])->Message);
    check($binding, 'FreezeAccountUsingAccountID', 'state', $seen->EffectiveStatus === 'frozen' && $seen->PaymentUrl === 'https://pay.example/?a=1&b=2', $seen);
    check($binding, 'ChangeAccountExpiryDate', 'date', $seen->ExpiryDate === '2031-02-03T04:05:06Z', $seen);
    $call('UnfreezeAccountUsingAccountID', 'Success', 'The account has been unfrozen', $id);
    $call('UpdateAccountStatusUsingAccountID', 'Success', 'The account status has been updated', $id + ['status' => 'inactive']);
    $call('SuspendAccountUsingAccountID', 'InvalidAccount', 'Invalid Account ID or Account ID does not exist', ['accountID' => 2000000000]);
    $call('SuspendAccountUsingAccountID', 'InvalidAccount', 'Invalid Account ID, Account ID does not belong to you', ['accountID' => (int) $foreign]);
    $call('SuspendAccount', 'InvalidEmail', 'Invalid Email or Email does not exist', ['email' => 'nobody@example.com']);
    $refused = $client->SuspendAccountUsingAccountID(['authToken' => 'wrong'] + $id)->SuspendAccountUsingAccountIDResult;
    check($binding, 'SuspendAccountUsingAccountID', 'token', [$refused->Code, $refused->Message] === ['InvalidAuth', 'Invalid Authentication Token'], $refused);
    try {
        $client->__setSoapHeaders(new SoapHeader('urn:x', 'Security', 'x', true));
        $client->SuspendAccountUsingAccountID(['authToken' => $token] + $id);
        check($binding, 'fault', 'mustUnderstand', false, 'no fault');
    } catch (SoapFault $fault) {
        check($binding, 'fault', 'mustUnderstand', str_contains((string) $fault->faultcode, 'MustUnderstand'), $fault->faultcode);
    }
    $client->__setSoapHeaders(null);
    $call('DeleteAccountUsingAccountID', 'Success', 'The account has been Deleted', $id);
    $call('DeleteAccount', 'Success', 'The account has been Deleted', ['email' => $second]);
    echo "php $binding: 14 operations\n";
}

echo "php: $passed passed, $failed failed\n";
exit($failed > 0 ? 1 : 0);
