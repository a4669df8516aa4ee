//! What runs in a container: a simulated application, or a local program in its place.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::node::{
    Simulation,
    environment::Environment,
    program::Process,
    server::Server,
    state::{Exit, Pod},
};

pub(crate) enum Application {
    Server(Server),
    Process(Process),
}

impl Application {
    /// Starts the image of a container in its environment.
    ///
    /// # Errors
    ///
    /// When a port is taken, or the program cannot be started. The caller treats it as a crash.
    pub(crate) async fn start(
        simulation: &Simulation,
        pod: &Arc<Pod>,
        index: usize,
        environment: Environment,
    ) -> anyhow::Result<Self> {
        let behaviour = simulation.images.follow(&pod.container(index).image);
        let program = behaviour.borrow().program.clone();
        match program {
            Some(program) => Process::start(simulation, pod, index, (&program, environment))
                .await
                .map(Self::Process),
            None => Server::start(pod, index, behaviour, environment)
                .await
                .map(Self::Server),
        }
    }

    /// Runs it to its end and returns how it ended. Dropping the future kills it.
    ///
    /// `terminate` is what SIGTERM is to a process: it says when to go, not that it must.
    pub(crate) async fn run(self, terminate: CancellationToken) -> Exit {
        match self {
            Self::Server(server) => server.run(terminate).await,
            Self::Process(process) => process.run(terminate).await.into(),
        }
    }
}
