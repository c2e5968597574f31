//! Object storage of the site: a Ceph cluster of one monitor, one OSD and one gateway (RGW). Cells
//! share the processes and nothing else: each has an RGW tenant of its own (see [`Bucket`]).

mod bucket;
mod conf;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

pub use bucket::{Bucket, NAME as BUCKET};

use crate::addresses::{MON_PORT, MON_V1_PORT, RGW_PORT};
use crate::driver::{Change, Driver, file_change};
use crate::error::{At, Result};
use crate::files::{private_dir, remove_tree, write_private};
use crate::parts::Tree;
use crate::process::{Spec, Supervisor, accepts, rank, run, run_with_input};
use crate::secrets::Secrets;

const GATEWAY_USER: &str = "client.rgw.site";
pub const REGION: &str = "us-east-1";

#[derive(Debug, Clone)]
pub struct Ceph {
    name: String,
    dir: PathBuf,
    address: IpAddr,
    tree: Tree,
}

impl Ceph {
    pub fn new(dir: &Path, address: IpAddr, tree: Tree) -> Self {
        Self { name: "site.ceph".into(), dir: dir.to_owned(), address, tree }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}:{RGW_PORT}", self.address)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Exists once monitor and OSD have been made; before that, a start begins anew.
    fn made(&self) -> PathBuf {
        self.file("made")
    }

    fn fsid(&self) -> Result<String> {
        let path = self.file("fsid");
        if !path.exists() {
            write_private(&path, Uuid::new_v4().to_string().as_bytes())?;
        }
        std::fs::read_to_string(&path).at("cannot read", &path)
    }

    fn configuration(&self) -> Result<String> {
        // RGW takes exactly 16 bytes.
        let secrets = Secrets::in_dir(&self.file("secrets"))?;
        let sts_key: String = secrets.get_or_make("sts.key")?.expose().chars().take(16).collect();
        Ok(conf::render(&self.dir, self.address, &self.fsid()?, &sts_key, &self.tree))
    }

    fn tool(&self, name: &str) -> Command {
        self.tree.command(&format!("usr/bin/{name}"), false)
    }

    /// A tool that speaks to the cluster.
    fn cluster_tool(&self, name: &str) -> Command {
        let mut command = self.tool(name);
        command.arg("-c").arg(self.file("ceph.conf"));
        command
    }

    /// The `ceph` command: Python, with the tree's own interpreter.
    fn ceph(&self) -> Command {
        let mut command = self.tree.command("usr/bin/python3", false);
        command.env("PYTHONHOME", self.tree.path("usr")).env("PYTHONDONTWRITEBYTECODE", "1");
        command
            .arg(self.tree.path("usr/bin/ceph"))
            .arg("-c")
            .arg(self.file("ceph.conf"))
            .args(["--connect-timeout", "20"]);
        command
    }

    fn radosgw_admin(&self) -> Command {
        let mut command = self.cluster_tool("radosgw-admin");
        command.args(["-n", GATEWAY_USER]);
        command
    }

    async fn make_monitor(&self) -> Result<()> {
        for stale in ["mon", "osd", "keyring", "monmap"] {
            let path = self.file(stale);
            let _absent = std::fs::remove_file(&path);
            remove_tree(&path)?;
        }
        for folder in ["mon", "osd"] {
            private_dir(&self.file(folder))?;
        }
        let keyring = self.file("keyring");
        let keys: [(&str, &[&str]); 3] = [
            ("mon.", &["mon", "allow *"]),
            ("client.admin", &["mon", "allow *", "osd", "allow *", "mgr", "allow *", "mds", "allow *"]),
            (GATEWAY_USER, &["mon", "allow rw", "osd", "allow rwx"]),
        ];
        for (name, capabilities) in keys {
            let mut command = self.tool("ceph-authtool");
            command.arg(&keyring);
            if !keyring.exists() {
                command.arg("--create-keyring");
            }
            command.args(["--gen-key", "-n", name]);
            for pair in capabilities.chunks(2) {
                command.arg("--cap").args(pair);
            }
            run("ceph-authtool", command).await?;
        }
        let (monmap, fsid) = (self.file("monmap"), self.fsid()?);
        let mut map = self.tool("monmaptool");
        map.args(["--create", "--clobber", "--fsid", &fsid, "--addv", "a"]);
        map.arg(format!("[v2:{0}:{MON_PORT},v1:{0}:{MON_V1_PORT}]", self.address)).arg(&monmap);
        run("monmaptool", map).await?;
        let mut mkfs = self.cluster_tool("ceph-mon");
        mkfs.args(["--mkfs", "-i", "a", "--monmap"]).arg(&monmap).arg("--keyring").arg(&keyring);
        run("ceph-mon --mkfs", mkfs).await.map(|_| ())
    }

    /// The monitor must run.
    async fn make_osd(&self) -> Result<()> {
        let mut print = self.tool("ceph-authtool");
        print.arg("--gen-print-key");
        let key = String::from_utf8_lossy(&run("ceph-authtool", print).await?).trim().to_owned();
        let id = Uuid::new_v4().to_string();
        let mut register = self.ceph();
        register.args(["osd", "new", &id, "0", "-i", "-"]);
        let secret = serde_json::json!({ "cephx_secret": key }).to_string();
        run_with_input("ceph osd new", register, Some(secret.into_bytes())).await?;
        let keyring = self.file("osd").join("keyring");
        write_private(&keyring, format!("[osd.0]\n\tkey = {key}\n").as_bytes())?;
        let mut mkfs = self.cluster_tool("ceph-osd");
        mkfs.args(["-i", "0", "--mkfs", "--osd-uuid", &id, "--keyring"]).arg(&keyring);
        run("ceph-osd --mkfs", mkfs).await?;
        write_private(&self.made(), b"1\n").map(|_| ())
    }

    fn spec(&self, name: &str, program: &str) -> Spec {
        let (program, args) = self.tree.launch(&format!("usr/bin/{program}"));
        let alive = Arc::new(|| -> futures::future::BoxFuture<'static, _> { Box::pin(async { Ok(()) }) });
        let conf = self.file("ceph.conf").into_os_string();
        Spec::new(format!("site.{name}"), program, alive).args(args).args(["-c".into(), conf, "-f".into()])
    }

    fn monitor(&self) -> Spec {
        let mut spec = self.spec("ceph-mon", "ceph-mon").args(["-i", "a"]);
        spec.listens = vec![SocketAddr::new(self.address, MON_PORT), SocketAddr::new(self.address, MON_V1_PORT)];
        spec.ready = accepts(SocketAddr::new(self.address, MON_PORT));
        spec.rank = rank::MON;
        spec
    }

    fn osd(&self) -> Spec {
        let mut spec =
            self.spec("ceph-osd", "ceph-osd").args(["-i", "0", "--keyring"]).args([self.file("osd/keyring")]);
        spec.rank = rank::OSD;
        spec
    }

    fn gateway(&self) -> Spec {
        let address = SocketAddr::new(self.address, RGW_PORT);
        // Without tcp_nodelay every small read waits 40 ms for Nagle.
        let frontend = format!("--rgw_frontends=beast endpoint={address} tcp_nodelay=1");
        let mut spec = self.spec("radosgw", "radosgw").args(["-n", GATEWAY_USER, &frontend]);
        spec.listens = vec![address];
        spec.ready = crate::process::answers(self.endpoint());
        spec.deadline = Duration::from_secs(120);
        // It often ignores SIGTERM, for good once the OSD is gone.
        spec.grace = Duration::from_secs(3);
        spec.rank = rank::STORE;
        spec
    }
}

#[async_trait]
impl Driver for Ceph {
    fn name(&self) -> &str {
        &self.name
    }

    async fn plan(&self) -> Result<Vec<Change>> {
        if !self.made().exists() {
            return Ok(vec![Change::create(format!("{}: monitor, OSD and gateway at {}", self.name, self.endpoint()))]);
        }
        Ok(file_change(&self.file("ceph.conf"), &self.configuration()?).into_iter().collect())
    }

    async fn apply(&self, supervisor: &Supervisor) -> Result<()> {
        for folder in ["run", "rgw", "crash"] {
            private_dir(&self.file(folder))?;
        }
        write_private(&self.file("ceph.conf"), self.configuration()?.as_bytes())?;
        let anew = !self.made().exists();
        if anew {
            self.make_monitor().await?;
        }
        supervisor.start(self.monitor()).await?;
        if anew {
            self.make_osd().await?;
        }
        let osd = supervisor.start(self.osd());
        let gateway = supervisor.start(self.gateway());
        futures::future::try_join(osd, gateway).await.map(|_| ())
    }

    async fn check(&self) -> Result<()> {
        (crate::process::answers(self.endpoint()))().await.map_err(|e| crate::Error::refused(&self.name, e))
    }

    async fn drift(&self) -> Result<Vec<Change>> {
        self.check().await?;
        self.plan().await
    }

    async fn destroy(&self) -> Result<()> {
        remove_tree(&self.dir)
    }
}
