// gSOAP (C++): the calls are compiled from the WSDL by wsdl2h and soapcpp2, and calls.inc, which gsoap_calls.py
// generates, picks one by its name. See README.md.
#include <iostream>
#include <map>
#include <string>

#include "ServiceSoap.nsmap"
#include "soapServiceSoapProxy.h"

using Members = std::map<std::string, std::string>;

static void set(soap *context, std::string *&member, const std::string &text) { member = soap_new_std__string(context); *member = text; }
static void set(soap *, int &member, const std::string &text) { member = std::stoi(text); }
static void set(soap *context, int *&member, const std::string &text) { member = soap_new_int(context); *member = std::stoi(text); }
static void set(soap *, bool &member, const std::string &text) { member = text == "true"; }
static void set(soap *context, bool *&member, const std::string &text) { member = soap_new_bool(context); *member = text == "true"; }
static void set(soap *context, time_t &member, const std::string &text) { soap_s2dateTime(context, text.c_str(), &member); }

static std::string code(soap *, const std::string &number) { return number; }
#ifndef CODES_ARE_NUMBERS
static std::string code(soap *context, ns1__ReturnCode word) { return soap_ns1__ReturnCode2s(context, word); }
#endif

static std::string escape(const std::string &text, bool back) {
  const std::string plain = "\\\t\n", letters = "\\tn";
  std::string result;
  for (size_t i = 0; i < text.size(); i++) {
    const size_t found = plain.find(text[i]);
    if (back && text[i] == '\\' && i + 1 < text.size()) result += plain[letters.find(text[++i])];
    else if (!back && found != std::string::npos) result += std::string("\\") + letters[found];
    else result += text[i];
  }
  return result;
}

static void write(const char *name, const std::string *text) { std::cout << "\t" << name << "=" << (text ? escape(*text, false) : ""); }
static void document(const ns1__AccountIDResult &result) { write("Joson", result.Joson); }
static void document(const ns1__EmailResult &) {}
static void document(const ns1__JSONResult &result) { write("JSON", result.JSON); }

template <typename Result> static void answer(soap *context, int status, const Result *result) {
  if (status != SOAP_OK || !result) {
    soap_set_fault(context);
    const char *reason = *soap_faultstring(context);
    std::cout << "fault=" << escape(reason ? reason : "no result", false) << std::endl;
    return;
  }
  std::cout << "Code=" << code(context, result->Code);
  write("Message", result->Message);
  document(*result);
  std::cout << std::endl;
}

static void call(ServiceSoapProxy &proxy, const std::string &operation, const Members &members) {
  soap *context = proxy.soap;
#include "calls.inc"
  std::cout << "fault=the client has no operation " << operation << std::endl;
}

int main(int, char **arguments) {
  ServiceSoapProxy proxy(SOAP_C_UTFSTRING);
  soap_set_version(proxy.soap, std::string(arguments[2]) == "1.2" ? 2 : 1);
  proxy.soap_endpoint = arguments[3];
  for (std::string line; std::getline(std::cin, line);) {
    std::string operation;
    Members members;
    for (size_t start = 0; start <= line.size();) {
      const size_t end = std::min(line.find('\t', start), line.size()), equals = line.find('=', start);
      if (start == 0) operation = line.substr(0, end);
      else members[line.substr(start, equals - start)] = escape(line.substr(equals + 1, end - equals - 1), true);
      start = end + 1;
    }
    call(proxy, operation, members);
    proxy.destroy();
  }
}
