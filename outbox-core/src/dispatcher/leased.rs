//! [`LeasedDispatcher`]: owns slots by lease and delivers what waits in them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::engine::{Engine, Until};
use super::route::{Pattern, Route};
use super::settings::{BuildError, Settings};
use super::{DispatchError, DispatchSummary, Dispatcher};
use crate::OutboxStore;

/// Delivers what waits in the slots it owns by lease; several may run side by side on one outbox.
pub struct LeasedDispatcher {
    parts: Arc<Parts>,
    running: AtomicBool,
}

/// What a dispatcher is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn OutboxStore>,
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) routes: Arc<Vec<Route>>,
}

/// Builds a [`LeasedDispatcher`].
#[must_use = "nothing is delivered until the dispatcher is built and run"]
pub struct LeasedDispatcherBuilder {
    store: Arc<dyn OutboxStore>,
    name: String,
    settings: Settings,
    routes: Vec<Route>,
}

impl LeasedDispatcher {
    /// Starts a dispatcher of `store`, usually a clone of the outbox that the service enqueues to.
    pub fn builder(store: impl OutboxStore) -> LeasedDispatcherBuilder {
        LeasedDispatcherBuilder {
            store: Arc::new(store),
            name: "dispatcher".to_owned(),
            settings: Settings::default(),
            routes: Vec::new(),
        }
    }
}

impl LeasedDispatcherBuilder {
    /// A name for people, shown in logs and in the sessions table.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Replaces the default [`Settings`].
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Adds a route. Messages of topics without a route stay untouched and visible.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// The dispatcher.
    ///
    /// # Errors
    /// [`BuildError`] says which setting or route is wrong.
    pub fn build(self) -> Result<LeasedDispatcher, BuildError> {
        self.settings.check()?;
        if self.routes.is_empty() {
            return Err(BuildError::NoRoute);
        }
        for (index, route) in self.routes.iter().enumerate() {
            if matches!(&route.pattern, Pattern::Topic(topic) if topic.is_empty()) {
                return Err(BuildError::Setting {
                    setting: "Route::topic",
                    reason: "must not be empty; `Route::prefix(\"\")` takes every topic that has no route of its own",
                });
            }
            if self.routes[..index].iter().any(|earlier| earlier.pattern == route.pattern) {
                let (Pattern::Topic(topic) | Pattern::Prefix(topic)) = route.pattern.clone();
                return Err(BuildError::TwoRoutes { topic });
            }
        }
        let Self { store, name, settings, routes } = self;
        let parts = Arc::new(Parts { store, name, settings, routes: Arc::new(routes) });
        Ok(LeasedDispatcher { parts, running: AtomicBool::new(false) })
    }
}

impl std::fmt::Debug for LeasedDispatcherBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedDispatcherBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LeasedDispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedDispatcher").field("name", &self.parts.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Dispatcher for LeasedDispatcher {
    async fn run(&self, shutdown: BoxFuture<'static, ()>) -> Result<DispatchSummary, DispatchError> {
        let _running = self.start()?;
        Engine::new(Arc::clone(&self.parts), Until::Shutdown).run(shutdown).await
    }

    async fn drain(&self) -> Result<DispatchSummary, DispatchError> {
        let _running = self.start()?;
        Engine::new(Arc::clone(&self.parts), Until::Drained).run(pending().boxed()).await
    }
}

impl LeasedDispatcher {
    fn start(&self) -> Result<Running<'_>, DispatchError> {
        match self.running.swap(true, Ordering::AcqRel) {
            true => Err(DispatchError::AlreadyRunning),
            false => Ok(Running(&self.running)),
        }
    }
}

/// Lets the dispatcher be run again, also when `run` was dropped half-way.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
