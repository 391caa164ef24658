// The soap package (Node). See README.md.
import readline from 'node:readline';
import soap from 'soap';

const [wsdl, version, endpoint] = process.argv.slice(2);
const is12 = version === '1.2';
const client = await soap.createClientAsync(wsdl, { forceSoap12Headers: is12, endpoint });
const port = client.Service[is12 ? 'ServiceSoap12' : 'ServiceSoap'];
const envelope = is12 ? 'http://www.w3.org/2003/05/soap-envelope' : 'http://schemas.xmlsoap.org/soap/envelope/';
const read = (text) => text.replaceAll('\\n', '\n').replaceAll('\\t', '\t').replaceAll('\\\\', '\\');
const written = (text) => text.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [operation, ...pairs] = line.split('\t');
  const members = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), read(pair.slice(pair.indexOf('=') + 1))]));
  client.clearSoapHeaders();
  if (members['@mustUnderstand']) client.addSoapHeader(`<Security xmlns="urn:x" xmlns:e="${envelope}" e:mustUnderstand="1"/>`);
  delete members['@mustUnderstand'];
  const answer = await new Promise((resolve) =>
    port[operation](members, (error, result) => resolve(error ? { fault: error.message } : result[`${operation}Result`])),
  );
  console.log(Object.entries(answer).map(([name, value]) => `${name}=${written(value ?? '')}`).join('\t'));
}
