//! HTTPS in front of a scripted exchange, with certificates good and bad.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is wrong with the certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Expired,
    None,
    WrongName,
}

/// A certificate authority of the test's own and a server it vouches for.
pub(crate) struct Front {
    address: SocketAddr,
    /// The authority's certificate as `SSL_CERT_FILE` wants it.
    pub(crate) root_pem: String,
}

impl Front {
    /// Passes every connection on to a plain server.
    pub(crate) fn start(plain: SocketAddr, flaw: Flaw) -> Self {
        let (root_pem, config) = certificates(flaw);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&config);
                // A client that does not like the certificate hangs up; that is the test's point.
                thread::spawn(move || drop(pass_on(stream, plain, config)));
            }
        });
        Self { address, root_pem }
    }

    /// `https://localhost:PORT`, the name in a good certificate.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

/// One request and its answer, then the end of the connection.
fn pass_on(stream: TcpStream, plain: SocketAddr, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut client = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut server = TcpStream::connect(plain)?;
    server.write_all(&head)?;
    server.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)?;
    client.conn.send_close_notify();
    client.flush()
}

fn certificates(flaw: Flaw) -> (String, ServerConfig) {
    let root_key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::new(Vec::new()).expect("no names");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(DnType::CommonName, "A test's authority");
    let root_pem = root.self_signed(&root_key).expect("a certificate").pem();
    let issuer = Issuer::new(root, root_key);

    let key = KeyPair::generate().expect("a key");
    let name = if flaw == Flaw::WrongName { "elsewhere.example" } else { "localhost" };
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if flaw == Flaw::Expired {
        leaf.not_after = date_time_ymd(2020, 1, 1);
    }
    let chain = vec![CertificateDer::from(leaf.signed_by(&key, &issuer).expect("signed"))];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key that fits");
    (root_pem, config)
}
