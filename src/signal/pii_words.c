/* signal/pii_words.c -- words that tell what the number beside them is.
 *
 * One list a meaning, about twelve languages, folded; two words joined by '_' are a phrase. The lists become a hash table at
 * first use (tens of microseconds), and the scanner asks it once a word. Chinese, Japanese and Korean words are found inside
 * runs of letters, the others between word edges. */
#include "signal/pii_internal.h"

#include <assert.h>
#include <pthread.h>

static const struct { enum pii_word kind; const char *words; } lists[] = {
    { WORD_PHONE,
      "phone telephone tel mobile mob cellphone landline fax call calling dial dialed sms whatsapp reach reached reachable "
      "contact hotline callback text_me ring_me cell_phone cell_number my_cell phone_number mobile_number contact_number "
      "my_number his_number her_number their_number telefon telefonnummer handy handynummer mobil mobilnummer rufnummer "
      "rufen anrufen zurückrufen rückruf erreichbar ruf durchwahl telefonisch téléphone téléphoner portable joindre "
      "joignable appelez appeler numéro_de teléfono telefono móvil movil celular llamar llame llámame llámeme llama "
      "cellulare chiamare chiama chiamami chiamare recapito telefone celular ligue ligar fone telefoonnummer mobiel bel "
      "bellen bereikbaar gsm telefoon komórka zadzwoń numer_telefonu telefonu telefonnummer mobilnummer ring ringa "
      "mobiltelefon nås телефон тел телефона телефону моб звоните позвоните мобильный номер_телефона telefonu cep ara "
      "puhelin puhelinnumero puh 电话 手机 電話 手機 电话号码 手机号 電話番号 携帯 전화 전화번호 휴대폰 फोन मोबाइल هاتف "
      "جوال" },
    { WORD_CARD,
      "card visa mastercard amex discover jcb maestro credit debit creditcard cc card_number cvv cvc kreditkarte karte "
      "kartennummer kreditkartennummer carte tarjeta carta cartão cartao kaart creditcard karta karty kort kortnummer "
      "kreditkort карта карты карту kart 信用卡 卡号 カード クレジットカード 카드 신용카드 बैंक_कार्ड" },
    { WORD_ID,
      "national_id identity_number id_number id_card identity_card personal_id citizen_id tax_id taxpayer nino "
      "national_insurance insurance_number identification_number identification personnummer personalausweis ausweisnummer "
      "steuer_id steuernummer sozialversicherungsnummer rentenversicherungsnummer cpf cnpj dni nie nif curp rut cuit cédula "
      "cedula nir insee sécurité_sociale carte_nationale codice_fiscale bsn burgerservicenummer pesel dowód dowodu nip "
      "henkilötunnus hetu cpr fødselsnummer rijksregisternummer ahv avs tckn kimlik_no kimlik aadhaar aadhar pan_card "
      "my_number mynumber снилс инн паспортные ssn_national 身份证 身份证号 身份證 マイナンバー 주민등록번호 आधार "
      "nhs_number nhs medicare medicare_number patient_id" },
    { WORD_SSN, "ssn social_security ss_number socialsecurity social_sec security_number" },
    { WORD_PASSPORT,
      "passport reisepass pass_number pass_no pass_nr reisepassnummer passnummer passeport pasaporte passaporto passaporte "
      "paspoort paspoortnummer paszport paszportu pasaport паспорт паспорта 护照 護照 パスポート 旅券 여권 पासपोर्ट جواز" },
    { WORD_LICENSE,
      "s_license s_licence license_no licence_no licence_number driver_license driver_licence drivers_license "
      "drivers_licence driving_licence driving_license dl_number dln führerschein führerscheinnummer permis permis_de "
      "licencia_de carnet_de patente patente_di cnh habilitação rijbewijs rijbewijsnummer prawo_jazdy körkort ehliyet 驾照 "
      "驾驶证 免許 免許証 운전면허 водительское license_number" },
    { WORD_ACCOUNT,
      "account acct a/c account_number bank_account accounts account_no iban checking savings routing sort_code bic swift "
      "konto kontonummer kontonr bankverbindung compte rib cuenta cuenta_bancaria conto conto_corrente conta conta_corrente "
      "rekening rekeningnummer rachunek konta kontonummer bankkonto счет счёт счета счёта hesap hesap_no 账号 账户 帳戶 "
      "口座 口座番号 계좌 계좌번호 खाता customer_number member_id membership membership_number policy_number kundennummer "
      "mrn medical_record record_number student_id employee_id badge" },
    { WORD_BIRTH,
      "born dob birth birthday birthdate birthdays d.o.b date_of_birth geboren geburtsdatum geburtstag geb né née naissance "
      "anniversaire nacido nacida nacimiento nací nació cumpleaños nato nata nascita nascido nascida nascimento aniversário "
      "geboren geboortedatum verjaardag urodzony urodzona urodzenia urodzin född född_den födelsedatum родился родилась "
      "рождения doğum doğumlu syntynyt syntymäaika født fødselsdato 出生 生日 生年月日 誕生日 생년월일 생일 जन्म ميلاد" },
    { WORD_ADDRESS,
      "address lives live living reside resides residing residence residing_at home ship shipping deliver delivery mail "
      "mailing moved moves move moving relocated located adresse anschrift wohnt wohne wohnhaft wohnen habite habitant "
      "domicile livrer dirección direccion vive vivo domicilio indirizzo abita abito residente endereço endereco mora moro "
      "reside adres woont woon mieszka mieszkam zamieszkały adress bor адрес проживает живет живу adresi ikamet osoite 地址 "
      "住址 住所 주소 पता" },
    { WORD_ZIP,
      "zip zipcode postcode postal zip_code postal_code plz postleitzahl code_postal código_postal codigo_postal cep "
      "codice_postale kod_pocztowy postnummer индекс 邮编 郵遞區號 郵便番号 우편번호 posta_kodu postinumero" },
    { WORD_IP,
      "ip ipv4 ipv6 server host address ssh ping subnet gateway dns firewall router serveur servidor сервер adresse_ip" },
    { WORD_USER,
      "username user_name user login userid user_id logins screenname benutzername benutzer anmeldename identifiant "
      "utilisateur usuario usuário utente gebruikersnaam gebruiker użytkownik login_name användarnamn användare "
      "пользователь логин kullanıcı 用户名 ユーザー名 사용자" },
    { WORD_SECRET,
      "password passwd pwd passphrase passcode pin passwort kennwort mot_de_passe mdp contraseña contrasena clave senha "
      "wachtwoord hasło lösenord пароль parola şifre salasana 密码 密碼 パスワード 비밀번호 पासवर्ड" },
    { WORD_KEY,
      "api_key apikey secret token access_key secret_key auth authorization bearer credential credentials private_key "
      "client_secret access_token refresh_token auth_token schlüssel clé_api llave key sas connection_string webhook" },
    { WORD_OTHER,
      "order orders invoice ticket tracking isbn issn doi version versions release build serial sku part commit hash sha "
      "sha1 sha256 md5 ref reference issue bug pr port latitude longitude lat lng lon coordinates px pixels error model lot "
      "batch item product article transaction parcel shipment uuid guid checksum timestamp epoch pid seed timeout line "
      "lines row rows page pages chapter section equation compute calculate multiply sum parameters population isbn10 "
      "isbn13 asin upc ean barcode artikel artikelnummer bestellung bestellnummer auftrag rechnung rechnungsnummer commande "
      "facture pedido factura ordine fattura bestelling factuur zamówienie faktura beställning order_id order_number заказ "
      "заказа 订单 订单号 注文 주문 port_number part_number case_number serial_number confirmation booking flight job run "
      "step offset size bytes id_order times roll dice random integer float hex decimal prime dependency bump downgrade "
      "upgraded section table paragraph clause figure patent rfc_number pmid arxiv revision rev firmware driver kernel "
      "python java node npm pip package upgrade phi pi" },
    { WORD_AGE, "years year yrs yr y/o yo jahre jahren ans años anni anos jaar lat år лет года yaşında vuotta 岁 歳 세" },
    { WORD_DIAL, "text cell ring signal telegram line message sms" },
    { WORD_AGED, "aged age turns turning turned alter âge edad età idade leeftijd wiek ålder возраст yaş" },
    { WORD_PERSONAL,
      "i am im she he her his my patient man woman boy girl son daughter mother father wife husband friend client customer "
      "person who mr mrs ms ich bin er sie mein meine je suis il elle soy tengo ella él sono ho ha tenho ele ela ik hij zij "
      "jag hon han" },
    { WORD_MONTH,
      "january february march april may june july august september october november december jan feb mar apr jun jul aug "
      "sep sept oct nov dec januar februar märz mai juni juli oktober dezember janvier février mars avril juin juillet août "
      "septembre octobre novembre décembre enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
      "diciembre gennaio febbraio aprile maggio giugno luglio settembre ottobre novembre dicembre janeiro fevereiro março "
      "maio junho julho setembro outubro novembro dezembro januari februari maart mei augustus stycznia lutego marca "
      "kwietnia maja czerwca lipca sierpnia września października listopada grudnia juni juli augusti января февраля марта "
      "апреля мая июня июля августа сентября октября ноября декабря ocak şubat mart nisan mayıs haziran temmuz ağustos "
      "eylül ekim kasım aralık" },
    { WORD_STREET_FIRST,
      "c rue avenue av boulevard bd blvd chemin place impasse allée allee quai cours route square sentier calle avenida "
      "avda paseo plaza camino carrer ronda travesía glorieta callejón pasadizo rambla urbanización cuesta cañada pasaje "
      "vial acceso carretera callejuela via viale piazza corso vicolo largo contrada strada borgo stretto incrocio rotonda "
      "canale piazzale rua travessa praça alameda viela morro estrada rodovia ladeira vila jardim loteamento quadra setor "
      "sítio campo chácara colônia condomínio conjunto distrito esplanada estação favela fazenda feira lago lagoa núcleo "
      "parque passarela pátio recanto residencial trecho trevo vale vereda viaduto aeroporto área ul ulica al aleja aleje "
      "pl plac os osiedle rondo улица ул проспект пр переулок пер бульвар шоссе набережная площадь jalan jl straße_der "
      "platz_der" },
    { WORD_STREET_LAST,
      "street st avenue ave av road rd boulevard blvd lane ln drive dr court ct terrace ter parkway pkwy highway hwy circle cir "
      "trail trl alley way square sq crescent cres close mews grove gardens place pl plaza expressway freeway turnpike" },
    { WORD_STREET_NUMBERED,
      "cadde caddesi cad sokak sokağı sok mahallesi bulvarı utca út tér körút straße strasse str weg allee platz gasse "
      "straat laan plein gracht kade singel gatan vägen gata vej gade veien allé plads" },
    { WORD_STREET_RARE,
      "annex arcade bayou beach bend bluff bluffs bottom branch bridge brook brooks burg burgs bypass camp canyon cape "
      "causeway center centers circles cliff cliffs club common commons corner corners course courts cove coves creek crest "
      "crossing crossroad curve dale dam divide drives estate estates extension extensions fall falls ferry field fields "
      "flat flats ford fords forest forge forges fork forks fort garden gateway glen glens green greens groves harbor "
      "harbors haven heights hill hills hollow inlet island islands isle junction junctions loop row pike ring key keys "
      "knoll knolls lake lakes land landing light lights loaf lock locks lodge manor manors meadow meadows mill mills "
      "mission motorway mount mountain mountains neck orchard oval overpass park parks parkways pass passage path pines "
      "pine plain plains plazas point points port ports prairie radial ramp ranch rapid rapids rest ridge ridges river "
      "roads route rue run shoal shoals shore shores skyway spring springs spur spurs squares station stravenue stream "
      "streets summit throughway trace track trafficway tunnel underpass union unions valley valleys via viaduct view views "
      "village villages ville vista walk walks wall ways well wells rise parade broadway green gate wharf yard end" },
    { WORD_UNIT,
      "apt apartment suite ste unit flat studio floor fl building bldg room rm box po dept piso puerta planta esc escalera "
      "portal local interno piano appartamento scala bis étage apto apartamento bloco lokal lok whg wohnung etage lgh "
      "lägenhet vån lot trlr no nr kv кв д дом корп box" },
    { WORD_STATE,
      "al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc nd oh ok or pa ri "
      "sc sd tn tx ut vt va wa wv wi wy dc pr vi gu as mp fm mh pw aa ae ap nsw vic qld sa tas act nt ab bc mb nb nl ns on "
      "pe qc sk yt nu ac am ap ba ce df es go mg ms mt pb pe pi pr rj rn ro rr rs se sp to" },
    { WORD_LINK,
      "de del la las los el du des le les da do dos das di della dei degli delle d l e y am an der den im ob bei zum zur "
      "und auf van op aan het ten ter upon the of sur sous en saint st sul na nad av" },
    { WORD_COPULA,
      "is was are be as number no nr num equals ist war lautet est es era è é jest är это for name of with nummer numéro número "
      "numero numer id code field value string the my : set" },
    { WORD_COMMON,
      "experience interface interfaces account accounts accounting input id name names agent agents story stories guide "
      "manual data base group groups friendly is was has have can could should will would wants want needs need may might "
      "must and or of in on at for to from with who that whose when where the a an this profile profiles management page "
      "pages table session sessions feedback settings permissions role roles research journey testing asks says said clicks "
      "enters message messages content who's does did not i you we they it he she if so but as by using via into about "
      "there what which how error failed please screen form button flow system registration authentication service services "
      "details information info field fields list lists defined specified space mode level levels count counts engagement "
      "behavior behaviour acceptance requirements documentation support level" },
};

enum { SLOTS = 1 << 13 };                       /* 32 - 19 bits; about 2,200 words: a third full */

/* Written once, under `once`. The bit map says no to most words without touching the table. */
static struct slot { uint32_t hash, kinds; } slots[SLOTS];
static uint8_t maybe[1 << 13];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Endings of street names written as one word. The part before must have two letters at least. The last row ends other words as
 * well ("engineering", "carpark"). */
static const str street_endings[] = {
    S("straße"), S("strasse"), S("str"), S("weg"), S("allee"), S("platz"), S("gasse"), S("damm"), S("chaussee"), S("steig"),
    S("pfad"), S("straat"), S("laan"), S("plein"), S("gracht"), S("kade"), S("singel"), S("dreef"), S("dijk"), S("steeg"),
    S("boulevard"), S("gatan"), S("gata"), S("vägen"), S("väg"), S("gränd"), S("stigen"), S("torget"), S("allén"), S("gade"),
    S("veien"), S("vegen"), S("katu"), S("polku"), S("kuja"), S("stræde"), S("vænget"),
    S("ring"), S("ufer"), S("stieg"), S("markt"), S("hof"), S("pad"), S("baan"), S("park"), S("backen"), S("vej"), S("tie"),
    S("alle"),
};

static void add_word(uint32_t hash, uint32_t kinds)
{
    uint32_t at = hash >> 19;
    while (slots[at].kinds && slots[at].hash != hash)
        at = (at + 1) % SLOTS;
    slots[at].hash = hash;
    slots[at].kinds |= kinds;
    maybe[hash >> 19] |= (uint8_t)(1u << (hash >> 16 & 7));
}

static void fill(void)
{
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        str rest = str_of(lists[i].words);
        while (rest.len) {
            str word = str_cut(&rest, ' ');
            if (word.len == 0)
                continue;
            add_word(word_hash(word), BIT(lists[i].kind));
            n++;
        }
    }
    assert(n < SLOTS / 2);
}

void word_prepare(void)
{
    pthread_once(&once, fill);
}

uint32_t word_kinds(uint32_t hash)
{
    if (!(maybe[hash >> 19] >> (hash >> 16 & 7) & 1))
        return 0;
    uint32_t at = hash >> 19;
    while (slots[at].kinds && slots[at].hash != hash)
        at = (at + 1) % SLOTS;
    return slots[at].kinds;
}

uint32_t word_hash(str word)
{
    uint32_t hash = WORD_SEED;
    for (size_t at = 0; at < word.len;) {
        uint32_t code = utf8_next(word, &at);
        hash = word_mix(hash, code - 'A' < 26u ? code | 32 : code < 0x80 ? code : utf8_fold(code));
    }
    return hash;
}

uint32_t word_ending(str word)
{
    enum { CLEAR = 37 };
    for (size_t i = 0; i < COUNT_OF(street_endings); i++) {
        str ending = street_endings[i];
        if (word.len >= ending.len + 2 && str_ieq(str_from(word, word.len - ending.len), ending))
            return i < CLEAR ? BIT(WORD_STREET_NUMBERED) : BIT(WORD_STREET_RARE);
    }
    return 0;
}
