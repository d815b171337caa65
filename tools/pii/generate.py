#!/usr/bin/env python3
"""Prompts with personal data for measuring the recognisers (src/signal/pii_scan.h): JSON Lines of {text, spans, template, half, lang}.

Usage: generate.py [ROWS_PER_TEMPLATE] [SEED]   needs the PyPI packages faker (MIT) and phonenumbers (Apache-2.0)

Values are made by Faker in thirty locales, by phonenumbers' example numbers of every region in all its formats, and by the issuers' own
rules (check digits). Spans are byte offsets. `half` splits the templates in two by a hash of their text, so that rules can be written
while looking at one half and measured on the other."""
import hashlib
import json
import random
import string
import sys

import phonenumbers
from faker import Faker

LOCALES = ("en_US en_GB en_CA en_AU en_IN de_DE de_AT de_CH fr_FR fr_CA fr_CH es_ES es_MX it_IT nl_NL nl_BE pl_PL pt_BR pt_PT sv_SE "
           "da_DK no_NO fi_FI cs_CZ tr_TR hu_HU ro_RO ru_RU").split()
LANGUAGE = {"en": "en_US en_GB en_CA en_AU en_IN", "de": "de_DE de_AT de_CH", "fr": "fr_FR fr_CA", "es": "es_ES es_MX", "it": "it_IT",
            "nl": "nl_NL nl_BE", "pl": "pl_PL", "pt": "pt_BR pt_PT", "sv": "sv_SE", "tr": "tr_TR", "ru": "ru_RU", "da": "da_DK"}
FAKERS = {name: Faker(name) for name in LOCALES}
# Address formats that the scanner is meant to know; the others are generated but counted under ADDRESS_OTHER.
ADDRESS_LOCALES = "en_US en_GB en_CA en_AU de_DE de_AT fr_FR es_ES it_IT nl_NL pl_PL pt_BR sv_SE da_DK no_NO".split()

IBAN_FORMS = {"DE": "n18", "FR": "n10c11n2", "GB": "a4n14", "ES": "n20", "IT": "a1n10c12", "NL": "a4n10", "PL": "n24", "SE": "n20",
              "CH": "n5c12", "AT": "n16", "BE": "n12", "PT": "n21", "DK": "n14", "NO": "n11", "FI": "n14", "IE": "a4n14", "GR": "n7c16",
              "CZ": "n20", "HU": "n24", "RO": "a4c16", "BG": "a4n6c8", "HR": "n17", "TR": "n6c16", "SA": "n2c18", "AE": "n19",
              "LU": "n3c13", "LT": "n16", "MT": "a4n5c18", "IL": "n19", "UA": "n6c19"}


def check97(country, bban):
    number = "".join(str(int(c, 36)) for c in bban + country + "00")
    return f"{98 - int(number) % 97:02d}"


def luhn_digit(body):
    total = 0
    for i, c in enumerate(reversed(body)):
        d = int(c) * (2 if i % 2 == 0 else 1)
        total += d - 9 if d > 9 else d
    return str(-total % 10)


class Values:
    def __init__(self, seed):
        self.r = random.Random(seed)
        for i, f in enumerate(FAKERS.values()):
            f.seed_instance(seed * 100 + i)
        self.regions = sorted(phonenumbers.SUPPORTED_REGIONS)

    def digits(self, n):
        return "".join(self.r.choice(string.digits) for _ in range(n))

    def body(self, n, alphabet=string.ascii_letters + string.digits):
        return "".join(self.r.choice(alphabet) for _ in range(n))

    def faker(self, lang):
        names = LANGUAGE.get(lang, " ".join(LOCALES)).split() if lang != "any" else LOCALES
        return FAKERS[self.r.choice(names)]

    def person(self, lang): return self.faker(lang).name()
    def first(self, lang): return self.faker(lang).first_name()
    def city(self, lang): return self.faker(lang).city()
    def company(self, lang): return self.faker(lang).company()

    def email(self, lang):
        f = FAKERS[self.r.choice(["en_US", "de_DE", "fr_FR", "es_ES", "it_IT"])]
        return self.r.choice([f.email, f.company_email, f.free_email, lambda: f.user_name() + "+" + f.word().lower() + "@" + f.domain_name(),
                              lambda: f.user_name() + "@" + self.r.choice(["mail.", "cs.", "eu."]) + f.domain_name(),
                              lambda: "info@bücher-" + self.body(3, string.ascii_lowercase) + ".de"])()

    def phone(self, lang):
        if self.r.random() < .35:
            return self.faker(lang).phone_number()
        while True:
            number = phonenumbers.example_number_for_type(self.r.choice(self.regions), self.r.choice([0, 1]))
            if number and len(str(number.national_number)) >= 7:
                break
        national = str(number.national_number)           # other digits behind the prefix that tells the kind
        for _ in range(50):
            changed = national[:4] + self.digits(len(national) - 4)
            candidate = phonenumbers.PhoneNumber(number.country_code, int(changed))
            if phonenumbers.is_valid_number(candidate):
                candidate.italian_leading_zero = number.italian_leading_zero
                number = candidate
                break
        return phonenumbers.format_number(number, self.r.choice([0, 1, 1, 2, 2]))

    def address(self, lang):
        names = [n for n in LANGUAGE.get(lang, " ".join(ADDRESS_LOCALES)).split() if n in ADDRESS_LOCALES] or ["en_US"]
        return FAKERS[self.r.choice(names)].address().replace("\n", self.r.choice([", ", "\n", ", "]))

    def card(self, lang):
        prefix, n = self.r.choice([("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2230", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
                                   ("3530", 16), ("36", 14), ("62", 16), ("2204", 16)])
        body = prefix + self.digits(n - len(prefix) - 1)
        number = body + luhn_digit(body)
        mark = self.r.choice(["", " ", "-"])
        if n == 16:
            return mark.join(number[i:i + 4] for i in range(0, 16, 4))
        return number[:4] + mark + number[4:10] + mark + number[10:]

    def iban(self, lang):
        country = self.r.choice(sorted(IBAN_FORMS))
        form, bban = IBAN_FORMS[country], ""
        for part in form.replace("n", " n").replace("c", " c").replace("a", " a").split():
            alphabet = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}[part[0]]
            bban += self.body(int(part[1:]), alphabet)
        whole = country + check97(country, bban) + bban
        if self.r.random() < .5:
            whole = " ".join(whole[i:i + 4] for i in range(0, len(whole), 4))
        return whole

    def ssn(self, lang):
        area = self.r.choice([n for n in range(1, 900) if n != 666])
        parts = f"{area:03d}", f"{self.r.randint(1, 99):02d}", f"{self.r.randint(1, 9999):04d}"
        return self.r.choice(["-", "-", "-", " "]).join(parts)

    def nid(self, lang):
        kind = self.r.choice("cpf pesel nir dni nie codice bsn personnummer nino aadhaar ahv rrn".split())
        d = self.digits
        date = f"{self.r.randint(50, 99):02d}{self.r.randint(1, 12):02d}{self.r.randint(1, 28):02d}"
        if kind == "cpf":
            body = d(9)
            for _ in range(2):
                s = sum(int(c) * w for c, w in zip(body, range(len(body) + 1, 1, -1)))
                body += str(s * 10 % 11 % 10)
            return self.r.choice([body, f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"])
        if kind == "pesel":
            body = date + d(4)
            return body + str(-sum(int(c) * w for c, w in zip(body, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3])) % 10)
        if kind == "nir":
            body = self.r.choice("12") + date[:4] + f"{self.r.randint(1, 95):02d}" + d(6)
            whole = body + f"{97 - int(body) % 97:02d}"
            return self.r.choice([whole, f"{whole[0]} {whole[1:3]} {whole[3:5]} {whole[5:7]} {whole[7:10]} {whole[10:13]} {whole[13:]}"])
        if kind == "dni":
            body = d(8)
            return body + self.r.choice(["", "-"]) + "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23]
        if kind == "nie":
            x, body = self.r.choice([("X", 0), ("Y", 1), ("Z", 2)]), d(7)
            return x[0] + body + "TRWAGMYFPDXBNJZSQVHLCKE"[int(str(x[1]) + body) % 23]
        if kind == "codice":
            f = FAKERS["it_IT"]
            return f.ssn()
        if kind == "bsn":
            while True:
                body = d(8)
                check = sum(int(c) * w for c, w in zip(body, range(9, 1, -1))) % 11
                if check < 10:
                    return body + str(check)
        if kind == "personnummer":
            body = date + d(3)
            return date + "-" + body[6:] + luhn_digit(body)
        if kind == "nino":
            return FAKERS["en_GB"].ssn()
        if kind == "aadhaar":
            return FAKERS["en_IN"].aadhaar_id() if self.r.random() < .5 else (lambda a: f"{a[:4]} {a[4:8]} {a[8:]}")(FAKERS["en_IN"].aadhaar_id())
        if kind == "ahv":
            body = "756" + d(9)
            body += str(-sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(body)) % 10)
            return f"{body[:3]}.{body[3:7]}.{body[7:11]}.{body[11:]}"
        return date + "-" + self.r.choice("1234") + d(6)

    def ip(self, lang):
        f = FAKERS["en_US"]
        return self.r.choice([f.ipv4_public, f.ipv4_private, f.ipv6, lambda: "2001:db8::" + self.body(4, "123456789abcdef")])()

    def mac(self, lang): return FAKERS["en_US"].mac_address()

    def dob(self, lang):
        date = FAKERS["en_US"].date_of_birth(minimum_age=16, maximum_age=95)
        forms = {"en": ["%m/%d/%Y", "%Y-%m-%d", "%B %d, %Y", "%d %B %Y", "%d/%m/%Y", "%b %d, %Y", "%d.%m.%Y"]}
        return date.strftime(self.r.choice(forms.get(lang, ["%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y"])))

    def passport(self, lang):
        return self.r.choice([lambda: self.digits(9), lambda: self.body(1, string.ascii_uppercase) + self.digits(8),
                              lambda: self.body(2, string.ascii_uppercase) + self.digits(7),
                              lambda: self.digits(2) + self.body(2, string.ascii_uppercase) + self.digits(5)])()

    def licence(self, lang):
        return self.r.choice([lambda: self.body(1, string.ascii_uppercase) + self.digits(7), lambda: self.digits(8), lambda: self.digits(9),
                              lambda: self.body(1, string.ascii_uppercase) + self.digits(3) + "-" + self.digits(4) + "-" + self.digits(4)])()

    def account(self, lang):
        return self.r.choice([lambda: self.digits(8), lambda: self.digits(10), lambda: self.digits(12), lambda: self.digits(4) + "-" + self.digits(6)])()

    def sort(self, lang): return "-".join(self.digits(2) for _ in range(3))

    def key(self, lang):
        b = self.body
        upper = string.ascii_uppercase + string.digits
        hexa = "0123456789abcdef"
        return self.r.choice([
            lambda: "sk-" + b(48), lambda: "sk-proj-" + b(40), lambda: "sk-ant-api03-" + b(60), lambda: "ghp_" + b(36),
            lambda: "github_pat_" + b(22) + "_" + b(40), lambda: "glpat-" + b(20), lambda: "xoxb-" + self.digits(11) + "-" + b(24),
            lambda: "AKIA" + b(16, upper), lambda: "AIza" + b(35), lambda: "sk_live_" + b(24), lambda: "SG." + b(22) + "." + b(43),
            lambda: "hf_" + b(34), lambda: "npm_" + b(36), lambda: "dop_v1_" + b(64, hexa), lambda: "shpat_" + b(32, hexa),
            lambda: "eyJhbGciOiJIUzI1NiJ9.eyJ" + b(40) + "." + b(43), lambda: "pypi-" + b(60), lambda: "gsk_" + b(40), lambda: "whsec_" + b(32)])()

    def random_key(self, lang):
        return self.r.choice([lambda: self.body(32), lambda: self.body(40), lambda: self.body(32, "0123456789abcdef")])()

    def password(self, lang):
        f = FAKERS["en_US"]
        return self.r.choice([lambda: f.password(length=self.r.randint(8, 14), special_chars=False), lambda: f.word().capitalize() + self.digits(4) + "!",
                              lambda: f.word() + self.digits(3) + "#" + f.word(), lambda: self.body(6, string.ascii_lowercase) + self.digits(2)])()

    def user(self, lang):
        f = FAKERS[self.r.choice(["en_US", "de_DE", "it_IT", "fr_FR", "es_ES"])]
        return self.r.choice([f.user_name, lambda: f.user_name() + str(self.r.randint(1, 99)), lambda: f.first_name().lower() + "_" + self.digits(2) if f.first_name().isascii() else f.user_name()])()

    def age(self, lang): return str(self.r.randint(3, 97))
    def bitcoin(self, lang): return "1" + self.body(33, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")

    # hard negatives
    def order(self, lang): return self.r.choice([lambda: self.digits(8), lambda: self.digits(10), lambda: self.digits(3) + "-" + self.digits(7) + "-" + self.digits(7), lambda: self.digits(12)])()
    def version(self, lang): return ".".join(str(self.r.randint(0, 40)) for _ in range(self.r.choice([3, 4])))
    def hexhash(self, lang): return self.body(self.r.choice([7, 32, 40, 64]), "0123456789abcdef")
    def uuid(self, lang): return FAKERS["en_US"].uuid4()
    def isbn(self, lang): return self.r.choice([FAKERS["en_US"].isbn13, FAKERS["en_US"].isbn10])()
    def amount(self, lang): return self.r.choice([f"{self.r.randint(1, 999)},{self.digits(3)},{self.digits(3)}", f"{self.r.randint(1, 99999)}.{self.digits(2)}", self.digits(7)])
    def when(self, lang): return FAKERS["en_US"].date(self.r.choice(["%Y-%m-%d", "%d/%m/%Y", "%B %d, %Y"]))
    def number(self, lang): return str(self.r.randint(1, 10 ** self.r.randint(2, 9)))
    def coordinate(self, lang): return f"{self.r.uniform(-180, 180):.6f}"
    def sku(self, lang): return self.body(2, string.ascii_uppercase) + "-" + self.digits(5) + "-" + self.body(1, string.ascii_uppercase)
    def word(self, lang): return FAKERS["en_US"].word()
    def timestamp(self, lang): return str(self.r.randint(1_500_000_000, 1_800_000_000))


SPANS = {"person": "PERSON", "email": "EMAIL", "phone": "PHONE", "address": "ADDRESS", "card": "CREDIT_CARD", "iban": "IBAN", "ssn": "SSN",
         "nid": "SSN", "ip": "IP", "mac": "MAC", "dob": "DOB", "passport": "PASSPORT", "licence": "DRIVER_LICENSE", "account": "ACCOUNT", "sort": "ACCOUNT",
         "key": "API_KEY", "random_key": "API_KEY", "password": "PASSWORD", "user": "USERNAME", "age": "AGE", "city": "LOCATION",
         "company": "ORG", "bitcoin": "CRYPTO", "first": "PERSON"}

TEMPLATES = """
en|Hi, this is {person}. Please ring me back on {phone} when you have a moment.
en|{person}\\n{address}\\n{phone}\\n{email}\\n\\nTurn this into a vCard.
en|Our new tenant {person} (born {dob}) moves to {address} next week.
en|Can someone check why {email} did not get the reset mail?
en|The traveller's passport number is {passport}; fill in the visa form.
en|Charge {card} for the two nights, exp 04/29, cvv 331.
en|my card {card} was declined at the store, what should I say to the bank
en|SSN {ssn} appears twice in the spreadsheet, how do I dedupe?
en|The applicant's social security number is {ssn} and the birth date {dob}.
en|Write to {person}, {address}, and offer a refund.
en|Wire the deposit to {iban} before Friday.
en|curl -H "Authorization: Bearer {key}" https://api.example.com/v1/me returns 403
en|export OPENAI_API_KEY={key}
en|I accidentally committed {key} to a public repo. What now?
en|password: {password}\\nusername: {user}\\nWhy does the login fail?
en|The db password is {password}, please write the connection string.
en|Login as {user} with password {password} and list the files.
en|DB_PASSWORD={password}
en|api_key = "{random_key}"
en|Driver's license {licence} expires soon; how do I renew it?
en|Patient is {age} years old, MRN {account}, takes metformin.
en|My account number is {account} and sort code {sort}.
en|Host {ip} keeps sending SYN packets; write an iptables rule.
en|ping {ip} times out but {ip} answers
en|Device {mac} got the address {ip} by DHCP.
en|Whose number is {phone}? They called me twice today.
en|Text {phone} to confirm, or mail {email}.
en|She was born on {dob} in {city}.
en|DOB: {dob}, phone: {phone}, mail: {email}
en|Send 0.2 BTC to {bitcoin} as a test.
en|Contact {person} at {company}, tel. {phone}, fax {phone}.
en|name,phone,email\\n{person},{phone},{email}\\nConvert to JSON
en|{{"name": "{person}", "ssn": "{ssn}", "card": "{card}"}} validate this
en|Book a table under {person}, mobile {phone}.
en|ship it to {address} please
en|We live at {address}.
en|Her national ID is {nid}.
en|ID number: {nid}
de|Mein Name ist {person}, geboren am {dob}, wohnhaft {address}. Schreibe einen Lebenslauf.
de|Bitte rufen Sie mich unter {phone} zurück.
de|Telefon: {phone}, E-Mail: {email}
de|Überweise 300 Euro auf das Konto {iban}.
de|Meine Kreditkarte {card} wurde gesperrt, was nun?
de|Reisepass {passport} ist abgelaufen. Wie beantrage ich einen neuen?
de|Das Passwort lautet {password} und der Benutzername {user}.
fr|Je m'appelle {person} et j'habite au {address}.
fr|Vous pouvez me joindre au {phone} ou par mail à {email}.
fr|Né le {dob}, passeport {passport}.
fr|Mon numéro de sécurité sociale est le {nid}.
fr|Faites le virement sur {iban} avant lundi.
es|Me llamo {person}, mi teléfono es {phone} y vivo en {address}.
es|Llámame al {phone} mañana.
es|Mi DNI es {nid} y mi cuenta {iban}.
es|La contraseña es {password}
it|Mi chiamo {person}, abito in {address}, cellulare {phone}.
it|Il mio codice fiscale è {nid}.
it|Nata il {dob}, telefono {phone}.
nl|Ik ben {person}, bel me op {phone} of mail {email}.
nl|Stuur het pakket naar {address}.
nl|Mijn BSN is {nid}, geboren op {dob}.
pl|Nazywam się {person}, mój numer telefonu to {phone}, PESEL {nid}.
pl|Mieszkam: {address}
pt|Meu nome é {person}, CPF {nid}, telefone {phone}.
pt|Moro em {address}.
sv|Jag heter {person}, ring mig på {phone}. Personnummer {nid}.
sv|Min adress är {address}.
da|Jeg bor på {address}, telefon {phone}.
tr|Adım {person}, telefon numaram {phone}.
ru|Мой телефон {phone}, почта {email}.
ru|Паспорт {passport}, дата рождения {dob}.
en|Where is my order {order}? It was due last week.
en|Invoice {order} is overdue, draft a reminder.
en|Bump the dependency from {version} to {version} and fix the tests.
en|Release {version} of the driver breaks builds on kernel {version}.
en|git revert {hexhash} fails with a conflict
en|sha256 {hexhash} does not match
en|The request id {uuid} shows up in the logs twice.
en|Look up ISBN {isbn} and summarise the book.
en|Our revenue was ${amount} in 2023 and ${amount} in 2022.
en|What happened on {when} in Berlin?
en|Add {number} and {number}, then divide by {number}.
en|Plot the point {coordinate}, {coordinate} on a map.
en|Item {sku} is back in stock, write an announcement.
en|Convert the timestamp {timestamp} to a date.
en|Why is {number} a prime number?
en|for (int i = 0; i < {number}; i++) buffer[i] = 0x{hexhash};
en|Ticket #{number} was closed, reopen ticket #{number}.
en|The tracking number is {order}, when will it arrive?
en|Set max_connections to {number} and the timeout to {number} ms.
en|Explain the difference between python {version} and {version}.
en|Train with learning rate 0.{number} for {number} steps, seed {number}.
en|Rows {number} to {number} are duplicated; remove them with SQL.
en|The password must have at least 12 characters and one digit; write a validator.
en|How should the user interface of a phone app show an error code {number}?
en|What is a credit card checksum and how is a social security number built?
en|The population of the city was {number} in 1990 and {number} in 2020.
en|Part {sku}, serial {order}, batch {number}: make a label.
en|class Foo::Bar {{ std::vector<int> v{{{number}, {number}, {number}}}; }};
en|2 eggs, 250 g flour, 100 ml milk, bake at 180 C for {number} minutes
en|import numpy as np; x = np.array([{coordinate}, {coordinate}, {number}])
en|In section 3.2.1.4 of the spec, table {number} lists {number} items.
en|The meeting room 12 is on Park floor 3, bring 15 chairs and {number} flyers.
en|Write a poem about a street that never ends and the number {number}.
de|Bestellung {order} ist nicht angekommen.
de|Die Rechnung {order} vom {when} über {amount} Euro fehlt.
fr|Ma commande {order} n'est pas arrivée, rédige une réclamation.
es|El pedido {order} llegó roto.
""".strip().split("\n")


def half_of(template):
    return int(hashlib.sha256(("half" + template).encode()).hexdigest(), 16) & 1


def fill(template, lang, values):
    text, spans = b"", []
    rest = template.replace("\\n", "\n")
    while rest:
        if rest[:2] in ("{{", "}}"):
            text += rest[0].encode()
            rest = rest[2:]
        elif rest[0] == "{":
            name, rest = rest[1:].split("}", 1)
            value = getattr(values, name)(lang).encode()
            if name in SPANS:
                spans.append({"start": len(text), "end": len(text) + len(value), "type": SPANS[name]})
            text += value
        else:
            text += rest[0].encode()
            rest = rest[1:]
    return text.decode(), spans


def main():
    per_template = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    values = Values(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for line in TEMPLATES:
        lang, template = line.split("|", 1)
        for _ in range(per_template):
            text, spans = fill(template, lang, values)
            print(json.dumps({"text": text, "spans": spans, "template": template, "half": half_of(template), "lang": lang}, ensure_ascii=False))


if __name__ == "__main__":
    main()
