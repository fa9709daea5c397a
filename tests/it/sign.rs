//! Signatures against numbers that were not made by this program, and the way of a query from its
//! values to the bytes on the wire.

use ouroboros::exchange::sign::{Credentials, Query};
use proptest::prelude::*;
use reqwest::Url;
use secrecy::SecretString;

// --- HMAC: REST API, "SIGNED Endpoint Examples for POST /api/v3/order" ---------------------------

#[test]
fn an_order_of_the_documents_is_signed_as_there() {
    expect_signed(
        order("LTCBTC"),
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000\
         &timestamp=1499827319559\
         &signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    );
}

#[test]
fn a_symbol_beyond_ascii_is_encoded_before_it_is_signed() {
    expect_signed(
        order("１２３４５６"),
        "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY&type=LIMIT\
         &timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559\
         &signature=e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
    );
}

#[test]
fn query_and_body_are_signed_with_nothing_between() {
    // An older revision of the same page. We send no body; the bytes are signed all the same.
    let message = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=0.1\
                   &recvWindow=5000&timestamp=1499827319559";
    let expected = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77";
    assert_eq!(hmac().sign(message.as_bytes()), expected);
}

#[test]
fn an_order_of_ours() {
    // By `openssl dgst -sha256 -hmac`.
    expect_signed(
        Query::new()
            .with("symbol", "BTCUSDT")
            .with("side", "BUY")
            .with("type", "MARKET")
            .with("quoteOrderQty", "100.00")
            .with("newClientOrderId", "ouro-0001")
            .with("newOrderRespType", "FULL"),
        "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=100.00&newClientOrderId=ouro-0001\
         &newOrderRespType=FULL&recvWindow=5000&timestamp=1499827319559\
         &signature=96939c81605fd172e3417f23bae26afc7df07056eac432be09a4ebbc1c7ad668",
    );
}

#[test]
fn a_question_without_parameters_begins_with_the_window() {
    let query = Query::new().signed(&hmac(), TIMESTAMP, 60_000);
    assert!(query.starts_with("recvWindow=60000&timestamp=1499827319559&signature="), "{query}");
}

// --- Ed25519: FIX API, "How to sign Logon<A> request" --------------------------------------------

#[test]
fn the_logon_of_the_documents_is_signed_as_there() {
    let message = ["A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223"].join("\u{1}");
    let expected = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj7\
                    3j8gCA==";
    assert_eq!(ed25519().sign(message.as_bytes()), expected);
}

#[test]
fn a_query_under_the_same_key() {
    // By `openssl pkeyutl -sign -rawin`.
    let message = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2\
                   &timestamp=1668481559918&recvWindow=5000";
    let expected = "inDT086KVIP8vgUfw5sV3VTkescWztiAGlf4x8FLKHM4NInsn0c1kYVLoGMO8cyjfR6vmTku2YQE0gtf\
                    VVlfCw==";
    assert_eq!(ed25519().sign(message.as_bytes()), expected);
}

#[test]
fn base64_is_encoded_on_its_way() {
    // Whatever the letters of a signature, the query has none of those that mean something else.
    let mut seen = [false; 3];
    for timestamp in TIMESTAMP..TIMESTAMP + 20 {
        let signed = Query::new().with("symbol", "BTCUSDT").signed(&ed25519(), timestamp, 5000);
        let (message, sent) = signed.split_once("&signature=").expect("it is signed");
        let plain = ed25519().sign(message.as_bytes());
        let expected = plain.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        assert_eq!(sent, expected);
        for (letter, seen) in ['+', '/', '='].into_iter().zip(&mut seen) {
            *seen |= plain.contains(letter);
        }
        assert_survives(&signed);
    }
    assert_eq!(seen, [true; 3], "each of them occurred");
}

// --- what is signed is what is sent --------------------------------------------------------------

#[test]
fn what_is_unreserved_stands_as_it_is_and_nothing_else() {
    let unreserved = "ABCXYZabcxyz0123456789-_.~";
    assert_eq!(Query::new().with("a", unreserved).unsigned(), format!("a={unreserved}"));
    let query = Query::new().with("a", "[\"B\"] +&=%#?/:'\n").with("b", "é").unsigned();
    assert_eq!(query, "a=%5B%22B%22%5D%20%2B%26%3D%25%23%3F%2F%3A%27%0A&b=%C3%A9");
}

proptest! {
    #[test]
    fn an_address_takes_a_query_without_a_change(values in prop::collection::vec(any::<String>(), 0..4)) {
        let query = values.iter().fold(Query::new(), |query, value| query.with("name", value));
        assert_survives(&query.clone().unsigned());
        let signed = query.clone().signed(&hmac(), TIMESTAMP, 5000);
        assert_survives(&signed);
        // The server finds the very values that were meant.
        let url = Url::parse(&format!("https://api.binance.com/?{signed}")).expect("an address");
        let read: Vec<String> =
            url.query_pairs().filter(|(name, _)| name == "name").map(|(_, v)| v.into()).collect();
        prop_assert_eq!(read, values);
        // And a signature of the bytes before it.
        let (message, signature) = signed.rsplit_once("&signature=").expect("it is signed");
        prop_assert_eq!(hmac().sign(message.as_bytes()), signature);
    }
}

// --- keys ----------------------------------------------------------------------------------------

#[test]
fn no_formatter_shows_a_key() {
    for credentials in [hmac(), ed25519()] {
        let shown =
            format!("{credentials} {credentials:?} {credentials:#?} {:?}", Some(&credentials));
        assert_eq!(shown, "[redacted] [redacted] [redacted] Some([redacted])");
        assert!(credentials.header().is_sensitive());
        assert_eq!(credentials.header(), API_KEY);
        assert_eq!(format!("{:?}", credentials.header()), "Sensitive");
    }
}

#[test]
fn keys_that_are_none() {
    let plain = || SecretString::from(API_KEY);
    for wrong in ["", "two words", "line\n", "é", "\0"] {
        assert!(Credentials::hmac(SecretString::from(wrong), plain()).is_err(), "{wrong:?}");
        assert!(Credentials::hmac(plain(), SecretString::from(wrong)).is_err(), "{wrong:?}");
        assert!(Credentials::ed25519(SecretString::from(wrong), PEM.as_bytes()).is_err());
    }
    for (pem, why) in [
        (" \n\t".to_owned(), "is empty"),
        ("no key".to_owned(), "holds no private key in PEM (PKCS#8)"),
        (PEM.replace("PRIVATE", "ENCRYPTED PRIVATE"), "is encrypted"),
        (PEM.replace("PRIVATE", "PUBLIC"), "is the public key"),
        (PEM.replace(" PRIVATE", " EC PRIVATE"), "holds no private key in PEM (PKCS#8)"),
        (PEM.replace("89u", "8!u"), "holds no private key in PEM (PKCS#8)"),
        (PEM.replace("89u", "89"), "holds a private key that is not Ed25519, or damaged"),
        // X25519: of the same length, and for another purpose.
        (PEM.replace("K2Vw", "K2Vu"), "holds a private key that is not Ed25519, or damaged"),
        (PEM.replace("-----END", "----END"), "holds no private key in PEM (PKCS#8)"),
    ] {
        let said = Credentials::ed25519(plain(), pem.as_bytes()).map(|_| ()).expect_err("no key");
        assert!(said.starts_with(why), "{pem}: {said}");
    }
}

#[track_caller]
fn expect_signed(query: Query, expected: &str) {
    let signed = query.signed(&hmac(), TIMESTAMP, 5000);
    assert_eq!(signed, expected);
    assert_survives(&signed);
}

/// An address that takes the query sends these very bytes.
#[track_caller]
fn assert_survives(query: &str) {
    let mut url = Url::parse("https://api.binance.com/api/v3/order").expect("an address");
    url.set_query(Some(query));
    assert_eq!(url.query(), Some(query));
    assert_eq!(url.as_str(), format!("https://api.binance.com/api/v3/order?{query}"));
}

fn order(symbol: &str) -> Query {
    Query::new()
        .with("symbol", symbol)
        .with("side", "BUY")
        .with("type", "LIMIT")
        .with("timeInForce", "GTC")
        .with("quantity", "1")
        .with("price", "0.1")
}

fn hmac() -> Credentials {
    let secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";
    Credentials::hmac(SecretString::from(API_KEY), SecretString::from(secret)).expect("a good key")
}

fn ed25519() -> Credentials {
    Credentials::ed25519(SecretString::from(API_KEY), PEM.as_bytes()).expect("a good key")
}

const API_KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
const TIMESTAMP: i64 = 1_499_827_319_559;

/// The documents' own key, as openssl writes one.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u\n\
                   -----END PRIVATE KEY-----\n";
