//! The bucket as a sink reaches it: slow at times, failing at times, before a write or after it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::fault::Step;
use super::world::{Broken, PROCESS, World};

pub struct Faulty(pub Arc<World>);

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated bucket")
    }
}

fn broken(error: Broken) -> object_store::Error {
    object_store::Error::Generic { store: "simulated", source: Box::new(error) }
}

fn name(path: &Path) -> &str {
    path.filename().unwrap_or_default()
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let world = &self.0;
        let step = if location.extension() == Some("parquet") { Step::PutData } else { Step::PutManifest };
        let put = async {
            if let Ok(process) = PROCESS.try_with(|process| *process) {
                world.puts.lock().insert(location.to_string(), process);
            }
            world.objects.put_opts(location, payload, opts).await
        };
        world.pass(step, &format!("puts {}", name(location)), put).await.map_err(broken)?
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.0.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.0.objects.get_opts(location, options);
        self.0.pass(Step::Get, &format!("gets {}", name(location)), got).await.map_err(broken)?
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let world = Arc::clone(&self.0);
        let delete = move |location: Result<Path>| {
            let world = Arc::clone(&world);
            async move {
                let location = location?;
                let deleted = world.objects.delete(&location);
                world.pass(Step::Delete, &format!("deletes {}", name(&location)), deleted).await.map_err(broken)??;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.objects.copy_opts(from, to, options).await
    }
}
