//! A server within the test process, over fake networks.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::web::Data;
use lexivec_models::{Dimensions, Instructions};
use lexivec_runtime::OpenNetwork;
use lexivec_runtime::cache::MemoryCache;
use lexivec_runtime::{CacheSettings, Engine, EngineOptions, ModelInfo, Tokenizer};
use lexivec_server::http::{self, ApiKeys, AppState, Budget, Exporter, HttpSettings, ServedModel};
use tokio::sync::oneshot;

use super::client::Client;
use super::fake::{Control, WIDTH};
use crate::support::project;

/// The longest sequence of the fake model in tokens.
pub(crate) const MAX_LENGTH: usize = 32_768;

/// The settings of a server.
pub(crate) struct Setup {
    pub(crate) engine: EngineOptions,
    pub(crate) http: HttpSettings,
    pub(crate) request_timeout: Duration,
    pub(crate) stuck_after: Duration,
    /// Bytes of the response cache; `None` turns off the cache and coalescing.
    pub(crate) cache: Option<u64>,
    /// The names of the models. Each has its own network.
    pub(crate) models: &'static [&'static str],
    pub(crate) keys: ApiKeys,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            engine: EngineOptions::default(),
            http: HttpSettings {
                workers: 2,
                ..HttpSettings::default()
            },
            request_timeout: Duration::from_secs(60),
            stuck_after: Duration::from_secs(120),
            cache: None,
            models: &["fake"],
            keys: ApiKeys::default(),
        }
    }
}

/// A server that runs until it is dropped.
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    /// The control of the first model.
    pub(crate) control: Arc<Control>,
    pub(crate) state: Data<AppState>,
    /// The controls of all models.
    pub(crate) controls: Vec<Arc<Control>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// The metrics of all servers in this process.
fn exporter() -> Exporter {
    static EXPORTER: OnceLock<Exporter> = OnceLock::new();
    let install = || {
        let exporter = Exporter::install().unwrap();
        exporter.show_versions("none");
        exporter
    };
    EXPORTER.get_or_init(install).clone()
}

/// The model behind every served name.
pub(crate) fn model_info() -> ModelInfo {
    ModelInfo {
        name: "Owner/Fake-8".to_owned(),
        hidden_size: WIDTH,
        vocabulary: 16_384,
        text_memory: lexivec_runtime::TextMemory::default(),
        max_length: MAX_LENGTH,
        dimensions: Dimensions::up_to(WIDTH),
        prompts: [("query".to_owned(), "Query: ".to_owned())].into(),
        default_prompt: None,
        precision: None,
        target: None,
        known_answer: None,
        digest: String::new(),
    }
}

/// The tokenizer of every model.
pub(crate) fn tokenizer() -> Tokenizer {
    let path = project("models/nano/tokenizer.json");
    Tokenizer::open(&path, model_info().vocabulary, MAX_LENGTH).unwrap()
}

impl Setup {
    fn engine(&self, name: &str, control: &Arc<Control>) -> Engine {
        let control = Arc::clone(control);
        let options = EngineOptions {
            name: Some(name.to_owned()),
            cache: self.cache.map(|bytes| CacheSettings {
                memory: Some(MemoryCache::new(bytes)),
                redis: None,
            }),
            ..self.engine.clone()
        };
        let open: Arc<OpenNetwork> = Arc::new(move |_| control.open());
        Engine::with_networks(model_info(), tokenizer(), &open, &options).unwrap()
    }

    pub(crate) fn state(&self) -> (AppState, Vec<Arc<Control>>) {
        let exporter = exporter();
        let controls: Vec<_> = self.models.iter().map(|_| Control::new()).collect();
        let served = self.models.iter().zip(&controls).map(|(name, control)| {
            let engine = Arc::new(self.engine(name, control));
            ServedModel::new(*name, engine, "cpu", self.engine.limits.max_tokens)
        });
        let mut state = AppState::new(served.collect(), Instructions::builtin());
        state.request_timeout = self.request_timeout;
        state.stuck_after = self.stuck_after;
        state.budget = Budget::new(self.http.request_memory);
        state.keys = self.keys.clone();
        state.exporter = Some(exporter);
        (state, controls)
    }

    pub(crate) fn serve(self) -> Local {
        let (state, controls) = self.state();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let http = self.http;
        let state = Data::new(state);
        let serves = state.clone();
        let thread = std::thread::spawn(move || {
            let stopped = async move {
                let _ = stopped.await;
            };
            System::new().block_on(http::run(
                listener,
                serves,
                http,
                None,
                stopped,
                std::future::pending::<()>,
            ))
        });
        Local {
            address,
            control: Arc::clone(&controls[0]),
            state,
            controls,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Local {
    /// Serves the model `fake` with default settings.
    pub(crate) fn start() -> Self {
        Setup::default().serve()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Opens `count` connections.
    pub(crate) fn clients(&self, count: usize) -> Vec<Client> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(&mut self) {
        let thread = self.thread.take();
        if let Some(thread) = thread {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
        // A failed test may have left batches held.
        self.controls.iter().for_each(|control| control.release());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sequence that the network gets for token ids: the tokenizer's last token is appended.
pub(crate) fn with_end_token(ids: &[u32]) -> Vec<u32> {
    static AFTER: LazyLock<Vec<u32>> = LazyLock::new(|| tokenizer().added_tokens().1.to_vec());
    [ids, &AFTER[..]].concat()
}
