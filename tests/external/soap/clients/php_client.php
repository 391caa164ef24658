<?php
// PHP's SoapClient. See README.md. With a fourth argument the program works in ISO-8859-1, as old PHP programs do: its
// texts and the bodies that it sends.
[, $wsdl, $version, $endpoint] = $argv;
$charset = $argv[4] ?? 'UTF-8';

class Client extends SoapClient
{
    public string $charset = 'UTF-8';

    public function __doRequest(string $request, string $location, string $action, int $version, bool $oneWay = false): ?string
    {
        if ($this->charset === 'UTF-8') {
            return parent::__doRequest($request, $location, $action, $version, $oneWay);
        }
        $body = iconv('UTF-8', $this->charset, str_replace('encoding="UTF-8"', "encoding=\"$this->charset\"", $request));
        $headers = "Content-Type: text/xml; charset=$this->charset\r\nSOAPAction: \"$action\"";
        $options = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'ignore_errors' => true];
        return file_get_contents($location, false, stream_context_create(['http' => $options]));
    }
}

$client = new Client($wsdl, ['soap_version' => $version === '1.2' ? SOAP_1_2 : SOAP_1_1, 'location' => $endpoint, 'cache_wsdl' => WSDL_CACHE_NONE, 'encoding' => $charset]);
$client->charset = $charset;
$read = fn (string $text) => iconv('UTF-8', $charset, str_replace(['\\n', '\\t', '\\\\'], ["\n", "\t", '\\'], $text));
$written = fn (string $text) => str_replace(['\\', "\t", "\n"], ['\\\\', '\\t', '\\n'], iconv($charset, 'UTF-8', $text));

while (($line = fgets(STDIN)) !== false) {
    $pairs = explode("\t", rtrim($line, "\n"));
    $operation = array_shift($pairs);
    $members = [];
    foreach ($pairs as $pair) {
        [$name, $value] = explode('=', $pair, 2);
        // SoapClient takes any text but '' and '0' for true.
        $members[$name] = ['true' => true, 'false' => false][$value] ?? $read($value);
    }
    $client->__setSoapHeaders(isset($members['@mustUnderstand']) ? new SoapHeader('urn:x', 'Security', 'x', true) : null);
    unset($members['@mustUnderstand']);
    try {
        $answer = (array) $client->__soapCall($operation, [$members])->{$operation . 'Result'};
    } catch (SoapFault $fault) {
        $answer = ['fault' => "$fault->faultcode {$fault->getMessage()}"];
    }
    echo implode("\t", array_map(fn ($name, $value) => "$name={$written($value ?? '')}", array_keys($answer), $answer)), "\n";
}
